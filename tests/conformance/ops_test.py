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

    def test_shapes_that_do_not_broadcast(self):
        self.stack.make("f32", np.zeros((3, 4), np.float32))
        self.stack.make("f32", np.zeros((3,), np.float32))
        with self.assertRaises(ToolError) as caught:
            self.stack("op add")
        self.assertIn("[3, 4] and [3]", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
