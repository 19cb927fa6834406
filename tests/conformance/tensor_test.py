"""Tensors and the conversion engine against numpy, ml_dtypes and gguf-py, through a tool that works on a stack
of tensors.

Usage: tensor_test.py TENSOR_TOOL
"""

import itertools
import subprocess
import sys
import unittest

import gguf
import ml_dtypes
import numpy as np

TOOL = sys.argv.pop(1)
SEED = 20261121
DTYPES = ["f32", "f16", "bf16", "i8", "i4", "i2", "i1", "bitnet158"]
QUANTIZED = ["i8", "i4", "i2", "i1", "bitnet158"]
GROUPS = {"row": None, "tensor": None, "32": 32, "64": 64, "128": 128, "256": 256}
GGML = {"i8": "Q8_0", "i4": "Q4_0", "bitnet158": "TQ2_0"}
BLOCK = {"i8": 32, "i4": 32, "i2": 64, "i1": 128, "bitnet158": 256}


class ToolError(Exception):
    def __init__(self, code, index, message):
        super().__init__(message)
        self.code, self.index = code, int(index)


class Stack:
    """The tool's stack of tensors."""

    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, line, data=b""):
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode().rstrip("\n")
        if answer.startswith("error\t"):
            raise ToolError(*answer.split("\t")[1:])
        return self.process.stdout.read(int(answer.split()[1]))

    def make(self, form, values):
        self(f"make {form} {numbers(values.shape)}", np.ascontiguousarray(values, np.float32).tobytes())

    def values(self):
        return np.frombuffer(self("values"), np.float32)

    def bytes(self):
        return np.frombuffer(self("bytes"), np.uint8)

    def pop_values(self):
        values = self.values()
        self("drop")
        return values

    def pop_bytes(self):
        found = self.bytes()
        self("drop")
        return found

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def numbers(shape):
    return ",".join(str(n) for n in shape) or "-"


def weights(rng, shape):
    """Values of weights' size, some outliers, none -0: whose sign a group of zeros takes is nobody's rule."""
    values = (rng.standard_t(4, shape) * 0.02).astype(np.float32)
    return np.where(values == 0, np.float32(0), values)


def round_half_away(x):
    return np.trunc(x + np.copysign(np.float32(0.5), x))


def planar_group(dtype, x):
    """Scale and integer values of one group, by the rules of value_format.h, in F32 arithmetic."""
    magnitude = np.abs(x)
    if dtype == "i1":
        return np.float32(magnitude.astype(np.float64).mean()), np.where(x >= 0, 1, -1)
    largest = x[np.argmax(magnitude)]
    scale = {"i8": np.float32(abs(largest)) / np.float32(127), "i4": largest / np.float32(-8)}.get(
        dtype, np.float32(abs(largest)))
    if scale == 0:
        return np.float32(0), np.zeros(len(x), int)
    scaled = x * (np.float32(1) / scale)
    if dtype == "i4":
        return scale, np.minimum(np.floor(scaled + np.float32(8.5)), 15).astype(int) - 8
    low = -127 if dtype == "i8" else -1
    return scale, np.clip(round_half_away(scaled), low, -low).astype(int)


def pack(dtype, row):
    """Codes of one row as bytes."""
    bits = {"i8": 8, "i4": 4, "i2": 2, "i1": 1, "bitnet158": 2}[dtype]
    codes = {"i8": row, "i4": row + 8, "i2": row + 1, "i1": (row + 1) // 2, "bitnet158": row + 1}[dtype]
    if bits == 8:
        return codes.astype(np.int8).view(np.uint8)
    each = 8 // bits
    filled = np.zeros((len(codes) + each - 1) // each * each, np.uint32)
    filled[: len(codes)] = codes
    return (filled.reshape(-1, each) << (np.arange(each, dtype=np.uint32) * bits)).sum(axis=1).astype(np.uint8)


def planar(dtype, group, values):
    """Packed codes of all rows, and the scales."""
    rows = values.reshape(-1, values.shape[-1])
    if group == "tensor":
        scale, q = planar_group(dtype, rows.reshape(-1))
        return np.concatenate([pack(dtype, r) for r in q.reshape(rows.shape)]), np.array([scale], np.float32)
    size = GROUPS[group] or rows.shape[1]
    codes, scales = [], []
    for row in rows:
        found = [planar_group(dtype, row[at : at + size]) for at in range(0, len(row), size)]
        scales += [scale for scale, _ in found]
        codes.append(pack(dtype, np.concatenate([q for _, q in found])))
    return np.concatenate(codes), np.array(scales, np.float32)


class Tensors(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.close)
        self.rng = np.random.default_rng(SEED)

    def check_planar(self, dtype, group, values):
        name = f"{dtype}_per_{group}"
        codes, scales = planar(dtype, group, values)
        self.stack.make(name, values)
        found = self.stack("scales")
        # A mean may be summed in another order.
        tolerance = 1e-6 if dtype == "i1" else 0
        np.testing.assert_allclose(np.frombuffer(found, np.float32), scales, rtol=tolerance, err_msg=name)
        np.testing.assert_array_equal(self.stack.bytes()[: len(codes)], codes, f"{name} {values.shape}")
        self.stack("drop")

    def test_planar_codes_and_scales_of_all_lengths(self):
        for length in range(1, 258):
            for dtype, group in itertools.product(QUANTIZED, GROUPS):
                self.check_planar(dtype, group, weights(self.rng, (1 + length % 3, length)))

    def test_planar_groups_longer_than_a_buffer(self):
        for dtype, group in itertools.product(QUANTIZED, ["row", "tensor"]):
            self.check_planar(dtype, group, weights(self.rng, (3, 20_001)))

    def random_view(self, array):
        """The next view of an array, and the line that makes it of the tensor."""
        kind = self.rng.integers(0, 4)
        if kind == 0 and array.ndim > 0:
            axes = self.rng.permutation(array.ndim)
            return array.transpose(axes), f"transpose {numbers(axes)}"
        if kind == 1 and array.ndim > 0:
            axis = int(self.rng.integers(0, array.ndim))
            first, last = sorted(self.rng.integers(0, array.shape[axis] + 1, 2))
            window = tuple(slice(first, last) if i == axis else slice(None) for i in range(array.ndim))
            return array[window], f"slice {axis} {first} {last}"
        if kind == 2 and array.ndim < 6:
            shape = (int(self.rng.integers(1, 4)), *(int(self.rng.integers(1, 4)) if n == 1 else n for n in array.shape))
            return np.broadcast_to(array, shape), f"broadcast {numbers(shape)}"
        if array.flags.c_contiguous and array.size > 0:
            shape = (-1, 1) if array.ndim % 2 else (1, -1)
            return array.reshape(shape), f"reshape {numbers(array.reshape(shape).shape)}"
        return np.ascontiguousarray(array) if array.ndim else array, "contiguous"

    def test_views_see_what_numpy_sees(self):
        for _ in range(400):
            rank = int(self.rng.integers(0, 5))
            shape = tuple(int(n) for n in self.rng.integers(1, 7, rank))
            array = weights(self.rng, shape).astype(np.float16)
            self.stack.make("f16", array.astype(np.float32))
            for _ in range(int(self.rng.integers(1, 6))):
                try:
                    array, line = self.random_view(array)
                    self.stack(line)
                except ToolError as error:
                    self.fail(f"{line}: {error}")
                np.testing.assert_array_equal(self.stack.values(), array.astype(np.float32).reshape(-1), line)
            self.stack("convert bf16")
            expected = array.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
            np.testing.assert_array_equal(self.stack.pop_values(), expected.reshape(-1))

    def test_slices_of_quantized_rows(self):
        for dtype in QUANTIZED:
            block = BLOCK[dtype]
            values = weights(self.rng, (5, 4 * block))
            self.stack.make(dtype, values)
            whole = self.stack.values().reshape(values.shape)
            self.stack(f"slice 1 {block} {3 * block}")
            self.stack("slice 0 1 4")
            np.testing.assert_array_equal(self.stack.values(), whole[1:4, block : 3 * block].reshape(-1), dtype)
            with self.assertRaises(ToolError) as raised:
                self.stack("slice 1 1 2")
            self.assertEqual(raised.exception.code, "invalid argument")
            self.assertIn(str(block), str(raised.exception))
            self.stack("drop")


class Conversions(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.close)
        self.rng = np.random.default_rng(SEED)

    def converted(self, form, values, line):
        self.stack.make(form, values)
        self.stack(line)
        return self.stack.pop_bytes()

    def test_blocks_equal_gguf_py(self):
        for dtype, name in GGML.items():
            for rows, blocks in [(1, 1), (3, 5), (40, 8)]:
                values = weights(self.rng, (rows, blocks * BLOCK[dtype]))
                expected = gguf.quantize(values, gguf.GGMLQuantizationType[name]).reshape(-1)
                np.testing.assert_array_equal(self.converted("f32", values, f"convert {dtype} fast"), expected, name)

    def test_halves_equal_numpy_and_ml_dtypes(self):
        values = np.concatenate([
            self.rng.integers(0, 1 << 32, 100_000, dtype=np.uint32).view(np.float32),
            np.arange(0, 1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32),
        ])
        values = values[np.isfinite(values)]
        for dtype, kind, largest in [("f16", np.float16, 65519), ("bf16", ml_dtypes.bfloat16, 3.38e38)]:
            fitting = values[np.abs(values) <= largest]
            expected = fitting.astype(kind).view(np.uint8)
            for line in [f"convert {dtype}", f"in_place {dtype}", f"stream {dtype} 1000"]:
                np.testing.assert_array_equal(self.converted("f32", fitting, line), expected, line)

    def test_every_pair_equals_quantizing_what_is_decoded(self):
        for source, target in itertools.product(DTYPES, DTYPES):
            for shape in [(4, 512), (3, 77), (5, 3), (1,), (0, 7)]:
                self.stack.make(source, weights(self.rng, shape))
                decoded = self.stack.values().reshape(shape)
                self.stack(f"convert {target} fast")
                found = self.stack.pop_bytes()
                if source == target:
                    continue
                self.stack.make(target, decoded)
                np.testing.assert_array_equal(found, self.stack.pop_bytes(), f"{source} -> {target} {shape}")

    def test_every_way_gives_the_same_bytes(self):
        for source, target in itertools.product(["f32", "f16", "bf16"], DTYPES):
            for shape in [(8, 256), (3, 77), (1001,)]:
                values = weights(self.rng, shape)
                expected = self.converted(source, values, f"convert {target}")
                lines = [f"stream {target} {chunk}" for chunk in (1, 700, 1 << 20)]
                if not (target == "f32" and source != "f32"):
                    lines.append(f"in_place {target}")
                for line in lines:
                    np.testing.assert_array_equal(
                        self.converted(source, values, line), expected, f"{source}: {line} {shape}")

    def test_requantizing_changes_nothing(self):
        for dtype, quality in itertools.product(QUANTIZED, ["fast", "balanced", "precise"]):
            for shape in [(4, 512), (3, 77)]:
                self.stack.make("f32", weights(self.rng, shape))
                self.stack(f"convert {dtype} {quality}")
                first = self.stack.values()
                self.stack("convert f32")
                self.stack(f"convert {dtype} {quality}")
                np.testing.assert_allclose(self.stack.pop_values(), first, rtol=1e-3 if len(shape) == 2 else 0,
                                           err_msg=f"{dtype} {quality} {shape}")

    def test_better_quality_is_no_worse(self):
        kinds = {
            "normal": self.rng.normal(0, 0.02, (16, 1024)),
            "student": self.rng.standard_t(3, (16, 1024)),
            "uniform": self.rng.uniform(-1, 1, (16, 1024)),
            "ternary": self.rng.integers(-1, 2, (16, 1024)) * 0.3,
            "outlier": self.rng.normal(0, 1e-3, (16, 1024)) + (self.rng.random((16, 1024)) < 1e-3),
        }
        for (kind, values), dtype in itertools.product(kinds.items(), QUANTIZED):
            values = values.astype(np.float32)
            errors = []
            for quality in ("fast", "balanced", "precise"):
                self.stack.make("f32", values)
                self.stack(f"convert {dtype} {quality}")
                errors.append(np.square(self.stack.pop_values().astype(np.float64) - values.reshape(-1)).sum())
            # Errors are compared group by group in F32: their sums may differ by a rounding.
            self.assertLessEqual(errors[1], errors[0] * (1 + 1e-6), f"{kind} {dtype}")
            self.assertLessEqual(errors[2], errors[1] * (1 + 1e-6), f"{kind} {dtype}")

    def test_going_by_f16_is_no_better(self):
        for kind in ("fast", "balanced", "precise"):
            values = weights(self.rng, (64, 1024))
            errors = []
            for lines in [f"convert i8 {kind}"], ["convert f16", f"convert i8 {kind}"]:
                self.stack.make("f32", values)
                for line in lines:
                    self.stack(line)
                errors.append(np.square(self.stack.pop_values().astype(np.float64) - values.reshape(-1)).sum())
            self.assertGreater(errors[1], errors[0] * 0.9999, kind)
            self.assertLess(errors[1], errors[0] * 1.01, kind)

    def test_a_first_tiny_conversion_is_like_any_other(self):
        for dtype in DTYPES:
            self.converted("f32", np.zeros((1, 1), np.float32), f"convert {dtype}")
            values = weights(self.rng, (4, 256))
            warm = self.converted("f32", values, f"convert {dtype}")
            cold = Stack()
            self.addCleanup(cold.close)
            cold.make("f32", values)
            cold(f"convert {dtype}")
            np.testing.assert_array_equal(warm, cold.pop_bytes(), dtype)

    def test_what_cannot_be_stored_is_named(self):
        values = np.ones((4, 256), np.float32)
        values[2, 17] = np.nan
        for dtype in QUANTIZED:
            with self.assertRaises(ToolError, msg=dtype) as raised:
                self.converted("f32", values, f"convert {dtype}")
            self.stack("drop")
            self.assertEqual(raised.exception.code, "data loss")
            self.assertEqual(raised.exception.index, 2 * 256 + 17)

    def test_a_bit_view_shows_bits(self):
        self.stack.make("f16", np.ones(8, np.float32))
        self.stack("bit_view bf16")
        np.testing.assert_array_equal(self.stack.bytes().view(np.uint16), np.full(8, 0x3C00))
        self.stack("drop")
        found = self.converted("f16", np.ones(8, np.float32), "convert bf16")
        np.testing.assert_array_equal(found.view(np.uint16), np.full(8, 0x3F80))


if __name__ == "__main__":
    unittest.main()
