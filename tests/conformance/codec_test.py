"""The codecs against numpy (F16), ml_dtypes (BF16) and gguf-py (blocks), for the reference and every SIMD level.

gguf-py knows no encoder of Q1_0, Q2_0, Q8_K and the K-quants; the golden hashes cover those that lobit has.
Usage: codec_test.py CODEC_TOOL
"""

import subprocess
import sys
import unittest

import gguf
import ml_dtypes
import numpy as np

TOOL = sys.argv.pop(1)
SEED = 20240914

Q = gguf.GGMLQuantizationType
ENCODED_BY_GGUF = [Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.TQ2_0, Q.TQ1_0]
# Offsets of the F16 scales and minima in a block.
SCALES = {
    Q.Q8_0: [0], Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.TQ2_0: [64], Q.TQ1_0: [52],
    Q.Q2_K: [80, 82], Q.Q3_K: [108], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208],
}  # fmt: skip


def tool(*args: str, data: bytes = b"") -> bytes:
    done = subprocess.run([TOOL, *args], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"codec_tool {' '.join(args)}: {done.stderr.decode()}")
    return done.stdout


CODECS = ["--reference"] + [f"--simd={level}" for level in tool("levels").decode().split()]


def encode(codec: str, encoding: str, values: np.ndarray, source: str = "f32") -> np.ndarray:
    return np.frombuffer(tool(codec, "encode", encoding, source, data=values.tobytes()), np.uint8)


def decode(codec: str, encoding: str, blocks: np.ndarray) -> np.ndarray:
    return np.frombuffer(tool(codec, "decode", encoding, data=blocks.tobytes()), np.float32)


def random_words(rng: np.random.Generator) -> np.ndarray:
    """A million F32 of any bits, the edges of F16 and BF16, and all midpoints of halves with their neighbours."""
    edges = [
        0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000,  # zeros and subnormals
        0x477FE000, 0x477FEFFF, 0x477FF000, 0xC77FF000, 0x7F7FFFFF, 0x7F7F8000,  # 65504, 65520, largest
        0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000, 0x7FFFFFFF, 0x7FA12345,  # Inf and NaN
        0x33000000, 0x33000001, 0x337FFFFF, 0x387FF000, 0x387FE000, 0x38800000,  # F16 underflow
    ]  # fmt: skip
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middles = ((halves[1:] + halves[:-1]) / 2).astype(np.float32).view(np.uint32)
    bf16_middles = (np.arange(0x10000, dtype=np.uint32) << 16) | 0x8000
    ties = np.concatenate([middles, bf16_middles])
    words = rng.integers(0, 1 << 32, 1_000_000, dtype=np.uint32)
    return np.concatenate([np.array(edges, np.uint32), ties - 1, ties, ties + 1, words]).view(np.float32)


def weights(rng: np.random.Generator) -> np.ndarray:
    """Groups of 256 of several kinds. No -0: gguf-py's scale or minimum takes the sign of whichever zero numpy
    finds, ggml's that of the first (and -0 / -8 where all are zero)."""
    groups = 1500
    shape = (groups, 256)
    halves = rng.integers(-254, 255, shape) / 2.0 * np.exp2(rng.integers(-12, 4, (groups, 1)))
    ternary = rng.integers(-1, 2, shape) * rng.lognormal(-4, 2, (groups, 1))
    kinds = [
        rng.normal(0, 0.02, shape),
        rng.standard_t(3, shape) * np.exp2(rng.integers(-90, 10, (groups, 1))),
        rng.normal(0, 1, shape) * np.exp2(rng.integers(-30, 10, shape)),
        halves,
        ternary,
        np.repeat(rng.normal(0, 1, (groups, 1)), 256, axis=1),
        np.zeros(shape),
    ]
    values = np.concatenate(kinds).astype(np.float32)
    return np.where(values == 0, np.float32(0), values)


def random_blocks(rng: np.random.Generator, encoding: Q, count: int) -> np.ndarray:
    blocks = rng.integers(0, 256, (count, gguf.GGML_QUANT_SIZES[encoding][1]), dtype=np.uint8)
    for offset in SCALES[encoding]:
        blocks[:, offset + 1] &= 0xBF  # an exponent below 16: finite
    return blocks


class Conformance(unittest.TestCase):
    def assert_same_halves(self, found: np.ndarray, expected: np.ndarray, nan: np.ndarray, what: str) -> None:
        """16-bit floats as uint16: equal bits, and for NaN equal signs."""
        self.assertEqual(found.size, expected.size, what)
        wrong = np.where(nan, (found ^ expected) & 0x8000, found ^ expected)
        at = np.flatnonzero(wrong)
        self.assertEqual(at.size, 0, f"{what}: {at.size} differ, first at {at[:3]}: {found[at[:3]]}")

    def assert_same_bits(self, found: np.ndarray, expected: np.ndarray, what: str) -> None:
        found, expected = found.view(np.uint8).ravel(), expected.view(np.uint8).ravel()
        self.assertEqual(found.size, expected.size, what)
        at = np.flatnonzero(found != expected)
        self.assertEqual(at.size, 0, f"{what}: {at.size} bytes differ, first at {at[:5]}")

    def test_f16_and_bf16_decode_all_patterns(self) -> None:
        patterns = np.arange(0x10000, dtype=np.uint32).astype(np.uint16)
        for name, dtype in [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)]:
            with np.errstate(invalid="ignore"):
                expected = patterns.view(dtype).astype(np.float32)
            nan = np.isnan(expected)
            for codec in CODECS:
                found = decode(codec, name, patterns)
                what = f"{codec} {name}"
                self.assert_same_bits(found[~nan], expected[~nan], what)
                self.assertTrue(np.isnan(found[nan]).all(), what)
                self.assertTrue((np.signbit(found[nan]) == np.signbit(expected[nan])).all(), what)

    def test_f16_and_bf16_encode_random_words(self) -> None:
        values = random_words(np.random.default_rng(SEED))
        nan = np.isnan(values)
        for name, dtype, infinity in [("f16", np.float16, 0x7C00), ("bf16", ml_dtypes.bfloat16, 0x7F80)]:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                expected = values.astype(dtype).view(np.uint16)
            for codec in CODECS:
                found = encode(codec, name, values).view(np.uint16)
                self.assert_same_halves(found, expected, nan, f"{codec} {name}")
                self.assertTrue(((found[nan] & 0x7FFF) > infinity).all(), f"{codec} {name}: NaN")

    def test_f16_and_bf16_convert_into_each_other(self) -> None:
        patterns = np.arange(0x10000, dtype=np.uint32).astype(np.uint16)
        pairs = [("f16", np.float16, "bf16", ml_dtypes.bfloat16), ("bf16", ml_dtypes.bfloat16, "f16", np.float16)]
        for source, source_dtype, target, target_dtype in pairs:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                values = patterns.view(source_dtype).astype(np.float32)
                expected = values.astype(target_dtype).view(np.uint16)
            for codec in CODECS:
                found = encode(codec, target, patterns, source).view(np.uint16)
                self.assert_same_halves(found, expected, np.isnan(values), f"{codec} {source} -> {target}")

    def test_blocks_encode_as_gguf_py(self) -> None:
        values = weights(np.random.default_rng(SEED))
        for encoding in ENCODED_BY_GGUF:
            with np.errstate(all="ignore"):
                expected = gguf.quantize(values, encoding)
            for codec in CODECS:
                found = encode(codec, encoding.name.lower(), values)
                self.assert_same_bits(found, expected, f"{codec} {encoding.name}")

    def test_blocks_encode_from_16_bit_floats_as_gguf_py(self) -> None:
        halves = {
            "f16": np.random.default_rng(SEED).normal(0, 0.02, (200, 256)).astype(np.float16),
            "bf16": np.random.default_rng(SEED).normal(0, 0.02, (200, 256)).astype(ml_dtypes.bfloat16),
        }
        for source, values in halves.items():
            for encoding in ENCODED_BY_GGUF:
                with np.errstate(all="ignore"):
                    expected = gguf.quantize(values.astype(np.float32), encoding)
                for codec in CODECS:
                    found = encode(codec, encoding.name.lower(), values, source)
                    self.assert_same_bits(found, expected, f"{codec} {source} -> {encoding.name}")

    def test_blocks_decode_as_gguf_py(self) -> None:
        rng = np.random.default_rng(SEED)
        for encoding in SCALES:
            blocks = random_blocks(rng, encoding, 2000)
            expected = gguf.dequantize(blocks, encoding)
            for codec in CODECS:
                found = decode(codec, encoding.name.lower(), blocks)
                self.assert_same_bits(found, expected, f"{codec} {encoding.name}")

    def test_block_sizes_are_those_of_gguf_py(self) -> None:
        compared = 0
        for line in tool("table").decode().splitlines():
            name, elements, size, number = line.split()
            if int(number) not in iter(Q):
                continue
            compared += 1
            encoding = Q(int(number))
            self.assertEqual(name.upper().removeprefix("RAW_"), encoding.name)
            if encoding == Q.Q8_1:
                # gguf-py counts two F32 beside the 32 codes, ggml's block has two F16.
                self.assertEqual((elements, size), ("32", "36"))
                continue
            self.assertEqual((int(elements), int(size)), gguf.GGML_QUANT_SIZES[encoding], name)
        self.assertGreaterEqual(compared, 33)


if __name__ == "__main__":
    unittest.main()
