"""Operations on tensors of random shapes, views and formats against numpy.

Usage: ops_test.py TENSOR_TOOL
"""

import math
import unittest

import ml_dtypes
import numpy as np

from tensor_test import SEED, Stack, ToolError, numbers

HALVES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}
INTEGERS = {f"raw_{kind}{bits}": np.dtype(f"{name}{bits}") for kind, name in (("i", "int"), ("u", "uint"))
            for bits in (8, 16, 32, 64)}
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum,
          "max": np.maximum}
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
EXACT = {"neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "relu": lambda x: np.where(x < 0, np.float32(0), x),
         "squared_relu": lambda x: np.where(x < 0, np.float32(0), x) ** 2}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu_tanh(x):
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


# In F64, with the error that lobit/kernels/elementwise.h allows in units of the last place.
FUNCTIONS = {
    "exp": (np.exp, 1.5), "log": (np.log, 1.5), "rsqrt": (lambda x: 1 / np.sqrt(x), 1.5), "tanh": (np.tanh, 3),
    "sigmoid": (sigmoid, 3), "silu": (lambda x: x * sigmoid(x), 6), "gelu_tanh": (gelu_tanh, 6),
    "gelu": (lambda x: 0.5 * x * np.vectorize(math.erfc, [float])(-x / math.sqrt(2)), 6),
}
FALLS_OFF = ["silu", "gelu", "gelu_tanh"]


class Operations(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.rng = np.random.default_rng(SEED)

    def tearDown(self):
        self.stack.close()

    def shape(self):
        shape = list(self.rng.integers(1, 6, self.rng.integers(0, 5)))
        if shape and self.rng.random() < 0.5:
            shape[self.rng.integers(len(shape))] = self.rng.choice([33, 64, 100, 300, 2100])
        return [int(n) for n in shape]

    def format(self):
        return str(self.rng.choice(["f32", "f32", "f16", "bf16"]))

    def special(self, shape):
        values = (self.rng.standard_normal(shape) * 3).astype(np.float32)
        values = np.where(self.rng.random(shape) < 0.05, np.round(values), values).astype(np.float32)
        odd = self.rng.choice([0, -0.0, np.inf, -np.inf, np.nan, 1], shape).astype(np.float32)
        return np.where(self.rng.random(shape) < 0.05, odd, values)

    def operand(self, shape, form):
        """Puts a view that broadcasts to `shape` on the stack; its values as F32."""
        own = [1 if self.rng.random() < 0.25 else n for n in shape][self.rng.integers(len(shape) + 1)
                                                                       if self.rng.random() < 0.25 else 0:]
        axes = [int(a) for a in self.rng.permutation(len(own))]
        whole = [0] * len(own)
        for i, axis in enumerate(axes):
            whole[axis] = own[i]
        cut = int(self.rng.integers(len(own))) if own else None
        before = int(self.rng.integers(3))
        if own:
            whole[cut] += before + 1
        values = self.special(whole)
        if form in HALVES:
            values = values.astype(HALVES[form]).astype(np.float32)
        self.stack.make(form, values)
        if own:
            length = whole[cut] - before - 1
            self.stack(f"slice {cut} {before} {before + length}")
            self.stack(f"transpose {numbers(axes)}")
            values = np.take(values, range(before, before + length), cut).transpose(axes)
        return values

    def same(self, found, wanted, message):
        """Bits are equal, and NaN is NaN."""
        wanted = np.ascontiguousarray(wanted, np.float32).reshape(-1)
        differ = (found.view(np.uint32) != wanted.view(np.uint32)) & ~(np.isnan(found) & np.isnan(wanted))
        self.assertFalse(differ.any(), f"{message}: {found[differ][:3]} for {wanted[differ][:3]}")

    def rounded(self, wanted, forms):
        form = forms[0] if len(set(forms)) == 1 else "f32"
        self.assertEqual(self.stack("format").decode(), form)
        return wanted.astype(HALVES[form]).astype(np.float32) if form in HALVES else wanted

    def test_binary(self):
        for i in range(1500):
            name = str(self.rng.choice(list(BINARY)))
            shape, forms = self.shape(), [self.format(), self.format()]
            a, b = (self.operand(shape, form) for form in forms)
            self.stack(f"op {name}")
            with np.errstate(all="ignore"):
                wanted = BINARY[name](a, b)
                wanted = self.rounded(wanted, forms)
            self.assertEqual(self.stack("shape").decode(), str(list(wanted.shape)))
            found = self.stack.pop_values()
            if name in ("min", "max"):  # which zero is numpy's own affair
                found, wanted = found + np.float32(0), wanted + np.float32(0)
            self.same(found, wanted, f"{i}: {name} of {a.shape} and {b.shape}, {forms}")

    def test_quantized_operands(self):
        for form, columns in (("q8_0", 96), ("q4_0", 64), ("bitnet158", 512), ("i8_per_row", 77), ("i4_per_32", 70)):
            for shape in ((5, columns), (1, columns), (columns,)):
                self.stack.make(form, self.rng.standard_normal(shape))
                a = self.stack.values().reshape(shape)
                b = self.operand([4, 5, columns], "f32")
                self.stack("op mul")
                with np.errstate(all="ignore"):
                    wanted = a * b
                self.same(self.stack.pop_values(), wanted, f"{form} {shape} and {b.shape}")

    def test_comparisons_and_choices(self):
        for i in range(600):
            name = str(self.rng.choice(COMPARISONS))
            shape = self.shape()
            a, b = (self.operand(shape, self.format()) for _ in range(2))
            self.stack(f"op {name}")
            mask = getattr(np, name)(a, b)
            self.assertEqual(self.stack("format").decode(), "raw_u8")
            np.testing.assert_array_equal(self.stack.bytes().astype(bool), mask.reshape(-1), f"{i}: {name}")
            x, y = (self.operand(shape, "f32") for _ in range(2))
            self.stack("op where")
            self.same(self.stack.pop_values(), np.where(mask, x, y), f"{i}: where")

    def test_exact_functions(self):
        for name, function in EXACT.items():
            for _ in range(60):
                form = self.format()
                x = self.operand(self.shape(), form)
                self.stack(f"op {name}")
                with np.errstate(all="ignore"):
                    wanted = self.rounded(function(x).astype(np.float32), [form])
                self.same(self.stack.pop_values(), wanted, name)

    def test_functions_within_their_bounds(self):
        for name, (function, bound) in FUNCTIONS.items():
            for _ in range(60):
                x = self.operand(self.shape(), "f32")
                self.stack(f"op {name}")
                found = self.stack.pop_values().reshape(x.shape).astype(np.float64)
                finite = np.isfinite(x)
                exact = x.astype(np.float64)
                with np.errstate(all="ignore"):
                    wanted = function(exact)
                    ulp = np.maximum(np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64), 2.0**-149)
                    allowed = bound * ulp
                    if name in FALLS_OFF:
                        share = 2.0**-22 * (4 + exact**2) * np.abs(wanted) + 2.0**-140
                        allowed = np.where(exact < 0, share, allowed)
                    good = (np.abs(found - wanted) <= allowed) | (found == wanted)
                good |= np.isnan(found) & np.isnan(wanted)
                self.assertTrue(good[finite].all(), f"{name}: {x[finite & ~good][:3]}")
                self.assertTrue(np.isnan(found[np.isnan(x)]).all(), name)

    def test_clamp(self):
        for _ in range(60):
            x = self.operand(self.shape(), "f32")
            self.stack("op clamp -1.5 2")
            self.same(self.stack.pop_values(), np.where(np.isnan(x), x, np.clip(x, -1.5, 2)), "clamp")

    def test_cast(self):
        for i in range(400):
            shape = self.shape()
            names = [str(name) for name in self.rng.choice(list(INTEGERS), 2)]
            source, target = (INTEGERS[name] for name in names)
            low, high = (np.iinfo(source).min, np.iinfo(source).max)
            values = self.rng.integers(low, high, shape, dtype=source, endpoint=True)
            values = np.where(self.rng.random(shape) < 0.9, values % 100, values).astype(source)
            self.stack(f"load {names[0]} {numbers(shape)}", values.tobytes())
            limits = np.iinfo(target)
            lost = [int(v) < limits.min or int(v) > limits.max for v in values.reshape(-1)]
            self.stack("copy")
            if any(lost):
                with self.assertRaises(ToolError) as caught:
                    self.stack(f"op cast {names[1]}")
                self.assertEqual((caught.exception.code, caught.exception.index), ("data loss", lost.index(True)))
            else:
                self.stack(f"op cast {names[1]}")
                found = self.stack.pop_bytes().tobytes()
                self.assertEqual(found, values.astype(target).tobytes(), f"{i}: {names}")
            self.stack("op cast f32")
            self.same(self.stack.pop_values(), values.astype(np.float32), f"{i}: {names[0]} to f32")

    def test_cast_rounds_to_even(self):
        for name, target in INTEGERS.items():
            values = np.clip(self.rng.standard_normal(999) * 100, np.iinfo(target).min, 127).astype(np.float32)
            values[::3] = np.floor(values[::3]) + np.float32(0.5)
            values = np.clip(values, np.iinfo(target).min, 127)
            self.stack.make("f32", values)
            self.stack(f"op cast {name}")
            self.assertEqual(self.stack.pop_bytes().tobytes(), np.rint(values).astype(target).tobytes(), name)

    def view(self, least=1):
        """A view of values without NaN of at least so many axes, on the stack."""
        while True:
            shape = self.shape()
            if len(shape) >= least:
                break
        axes = [int(a) for a in self.rng.permutation(len(shape))]
        values = self.rng.standard_normal([shape[a] for a in np.argsort(axes)] if axes else []).astype(np.float32)
        self.stack.make("f32", values)
        if axes:
            self.stack(f"transpose {numbers(axes)}")
        return values.transpose(axes) if axes else values

    def some_axes(self, x):
        count = int(self.rng.integers(0, x.ndim + 1))
        chosen = tuple(int(a) for a in self.rng.permutation(x.ndim)[:count])
        return chosen or None, numbers(chosen) if chosen else "-"

    def test_reductions(self):
        for i in range(400):
            x = self.view()
            axes, words = self.some_axes(x)
            keep = bool(self.rng.random() < 0.5)
            exact = x.astype(np.float64)
            count = x.size // max(1, np.sum(exact, axes).size)
            magnitude = np.sum(np.abs(exact), axes, keepdims=keep)
            wanted = {"sum": np.sum(exact, axes, keepdims=keep), "mean": np.mean(exact, axes, keepdims=keep),
                      "least": x.min(axes, keepdims=keep), "largest": x.max(axes, keepdims=keep)}
            for name, value in wanted.items():
                self.stack("copy")
                self.stack(f"op {name} {words} {'keep' if keep else 'drop'}")
                self.assertEqual(self.stack("shape").decode(), str(list(value.shape)), f"{i}: {name}")
                found = self.stack.pop_values().reshape(value.shape).astype(np.float64)
                allowed = np.spacing(np.abs(value).astype(np.float32)) + count * 2.0**-53 * magnitude
                self.assertTrue((np.abs(found - value) <= allowed).all(), f"{i}: {name} over {axes} of {x.shape}")
            self.stack("copy")
            self.stack(f"op var {words} {'keep' if keep else 'drop'} 0")
            value = np.var(exact, axes, keepdims=keep)
            np.testing.assert_allclose(self.stack.pop_values().reshape(value.shape), value, 2e-7, 1e-30)
            self.stack("drop")

    def test_places_of_extremes(self):
        for i in range(200):
            x = self.view()
            axis = int(self.rng.integers(x.ndim))
            for name, function in (("argmin", np.argmin), ("argmax", np.argmax)):
                self.stack("copy")
                self.stack(f"op {name} {axis} drop")
                found = np.frombuffer(self.stack.pop_bytes().tobytes(), np.int64)
                np.testing.assert_array_equal(found, function(x, axis).reshape(-1), f"{i}: {name}")
            self.stack("drop")

    def test_softmax_and_norm(self):
        for i in range(150):
            x = self.view()
            axis = int(self.rng.integers(x.ndim))
            exact = x.astype(np.float64)
            self.stack("copy")
            self.stack(f"op softmax {axis}")
            powers = np.exp(exact - exact.max(axis, keepdims=True))
            wanted = powers / powers.sum(axis, keepdims=True)
            np.testing.assert_allclose(self.stack.pop_values().reshape(x.shape), wanted, 1e-6, 0, f"{i}: softmax")
            weight, bias = (self.rng.standard_normal(x.shape[-1]).astype(np.float32) for _ in range(2))
            self.stack.make("f32", weight)
            self.stack.make("f32", bias)
            self.stack("op layer_norm 1e-5")
            centred = exact - exact.mean(-1, keepdims=True)
            wanted = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5) * weight + bias
            found = self.stack.pop_values().reshape(x.shape)
            np.testing.assert_allclose(found, wanted, 1e-5, 1e-5, f"{i}: layer_norm")

    def test_joins(self):
        for i in range(150):
            x = self.view()
            axis = int(self.rng.integers(x.ndim))
            other = list(x.shape)
            other[axis] = int(self.rng.integers(1, 9))
            y = self.rng.standard_normal(other).astype(np.float32)
            self.stack("copy")
            self.stack.make("f32", y)
            self.stack(f"op concat {axis}")
            self.same(self.stack.pop_values(), np.concatenate([x, y], axis), f"{i}: concat")
            picks = self.rng.integers(0, x.shape[axis], self.rng.integers(1, 4, 2))
            self.stack(f"load raw_i64 {numbers(picks.shape)}", picks.astype(np.int64).tobytes())
            self.stack(f"op gather {axis}")
            self.same(self.stack.pop_values(), np.take(x, picks, axis), f"{i}: gather")

    def test_products(self):
        for i in range(150):
            rows, depth, columns = (int(n) for n in self.rng.integers(1, 70, 3))
            batch = [int(n) for n in self.rng.integers(1, 4, self.rng.integers(0, 3))]
            a = self.plain([*batch, rows, depth])
            transposed = bool(self.rng.random() < 0.5)
            b = self.plain([columns, depth] if transposed else [depth, columns])
            self.stack(f"op matmul f32 {'transposed' if transposed else 'as'}")
            right = b.T if transposed else b
            wanted = a.astype(np.float64) @ right.astype(np.float64)
            allowed = depth * 2.0**-23 * (np.abs(a).astype(np.float64) @ np.abs(right).astype(np.float64)) + 1e-30
            found = self.stack.pop_values().reshape(wanted.shape)
            self.assertTrue((np.abs(found - wanted) <= allowed).all(), f"{i}: {a.shape} @ {right.shape}")

    def test_products_with_quantized_weights(self):
        for form in ("q8_0", "q4_0", "q4_1", "q5_0", "q2_0", "q1_0", "tq2_0", "tq1_0", "i8_per_row"):
            for activations in ("f32", "int8"):
                a = self.plain([3, 512])
                self.stack.make(form, self.rng.standard_normal((40, 512)).astype(np.float32))
                b = self.stack.values().reshape(40, 512)
                if activations == "int8" and form in ("q4_1", "q5_0", "i8_per_row"):
                    with self.assertRaises(ToolError) as caught:
                        self.stack("op matmul int8 transposed")  # takes its operands all the same
                    self.assertEqual(caught.exception.code, "unsupported")
                    continue
                self.stack(f"op matmul {activations} transposed")
                wanted = a.astype(np.float64) @ b.T.astype(np.float64)
                scale = np.abs(a).max() * np.abs(b).sum(1)
                allowed = scale * (512 * 2.0**-23 if activations == "f32" else 1 / 250)
                found = self.stack.pop_values().reshape(wanted.shape)
                self.assertTrue((np.abs(found - wanted) <= allowed).all(), f"{form} with {activations}")

    def plain(self, shape):
        values = self.rng.standard_normal(shape).astype(np.float32)
        self.stack.make("f32", values)
        return values

    def test_shapes_that_do_not_broadcast(self):
        self.stack.make("f32", np.zeros((3, 4), np.float32))
        self.stack.make("f32", np.zeros((3,), np.float32))
        with self.assertRaises(ToolError) as caught:
            self.stack("op add")
        self.assertIn("[3, 4] and [3]", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
