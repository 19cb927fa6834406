"""Arrays saved by NumPy read by lobit, and files laid out by lobit read by NumPy, whose bytes they equal.

Usage: npy_test.py FORMAT_TOOL
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import ml_dtypes
import numpy as np

TOOL = sys.argv.pop(1)
SEED = 20240914

# dtype of NumPy -> encoding of lobit
DTYPES = {
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
    "int8": "raw_i8",
    "int16": "raw_i16",
    "int32": "raw_i32",
    "int64": "raw_i64",
    "uint8": "raw_u8",
    "uint16": "raw_u16",
    "uint32": "raw_u32",
    "uint64": "raw_u64",
    "bool": "bool",
    "complex64": "c64",
}
# Valid for NumPy, without an encoding in lobit.
REFUSED = [
    ">f4", ">u2", "complex128", "U3", "S5", "M8[ns]", "V2", [("a", "<f4"), ("b", "|u1")],
    ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4,
]  # fmt: skip
SHAPES = [(), (1,), (7,), (0,), (2, 3), (0, 3), (3, 0), (1, 1, 1, 1, 1, 1, 1, 1), (2, 1, 3, 1, 2)]


def run(*args):
    return subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=60)


def random_array(rng, dtype, shape):
    dtype = np.dtype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    # Any bits, NaN and subnormals too; a bool is 0 or 1.
    data = rng.integers(0, 2 if dtype == bool else 256, count, dtype=np.uint8)
    return np.frombuffer(data.tobytes(), dtype).reshape(shape)


class NpyTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "a.npy")
        self.copy = os.path.join(folder.name, "copy.npy")
        self.rng = np.random.default_rng(SEED)

    def saved(self, array, version=None):
        with open(self.path, "wb") as file:
            np.lib.format.write_array(file, array, version=version)
        return self.contents(self.path)

    def contents(self, path):
        with open(path, "rb") as file:
            return file.read()

    def listed(self):
        result = run("list", self.path)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def rewritten(self):
        result = run("rewrite", self.path, self.copy)
        self.assertEqual(result.returncode, 0, result.stderr)
        return self.contents(self.copy)

    def test_every_dtype_both_ways(self):
        for dtype, encoding in DTYPES.items():
            array = random_array(self.rng, dtype, (3, 5))
            data = self.saved(array)
            self.assertEqual(
                self.listed(),
                {"encoding": encoding, "shape": [3, 5], "offset": len(data) - array.nbytes, "bytes": array.nbytes},
            )
            self.assertEqual(data[-array.nbytes :], array.tobytes())
            self.assertEqual(self.rewritten(), data, dtype)
            loaded = np.load(self.copy)
            if dtype == "bfloat16":
                loaded = loaded.view(ml_dtypes.bfloat16)
            self.assertEqual(loaded.dtype, array.dtype)
            self.assertEqual(loaded.tobytes(), array.tobytes())

    def test_every_version_and_shape(self):
        for shape in SHAPES + [tuple(self.rng.integers(1, 6, rank)) for rank in range(1, 9)]:
            array = random_array(self.rng, "float32", shape)
            expected = self.saved(array)
            for version in [(1, 0), (2, 0), (3, 0)]:
                self.saved(array, version)
                self.assertEqual(self.listed()["shape"], list(shape))
                self.assertEqual(self.rewritten(), expected, shape)

    def test_large_dimensions(self):
        # The header's padding depends on the digits.
        for digits in range(1, 7):
            array = np.zeros((10**digits, 1), np.uint8)
            self.assertEqual(self.saved(array), self.rewritten())

    def test_reads_what_numpy_can_parse_in_other_forms(self):
        body = random_array(self.rng, "int16", (2, 1)).tobytes()
        for text in [
            '{"shape":(2,1),"descr":"<i2","fortran_order":True}',
            "{ 'fortran_order' : False ,\n 'shape' : ( 2 , 1 , ) , 'descr' : '<i2' }\n",
        ]:
            header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
            with open(self.path, "wb") as file:
                file.write(header + body)
            loaded = np.load(self.path)
            self.rewritten()
            again = np.load(self.copy)
            self.assertEqual((again.dtype, again.shape), (loaded.dtype, loaded.shape))
            self.assertEqual(again.tobytes(), loaded.tobytes())

    def test_refuses_what_it_cannot_hold(self):
        for dtype in REFUSED:
            self.saved(np.zeros(2, dtype))
            result = run("list", self.path)
            self.assertEqual(result.returncode, 1, dtype)
            self.assertIn("unsupported: ", result.stderr)
        self.saved(np.zeros((2, 3), np.float32, order="F"))
        self.assertIn("Fortran order", run("list", self.path).stderr)
        self.saved(np.zeros((1,) * 9, np.float32))
        self.assertIn("at most 8 dimensions", run("list", self.path).stderr)
        with open(self.path, "wb") as file:
            np.save(file, np.zeros(3))
            np.save(file, np.zeros(3))
        self.assertIn("found 152 more bytes", run("list", self.path).stderr)

    def test_a_refused_file_is_not_written(self):
        data = self.saved(np.zeros((2, 3), np.float32))
        for size in range(len(data)):
            # Every size near the parts' borders.
            if min(abs(size - border) for border in (0, 10, 70, 128, len(data))) > 3:
                continue
            with open(self.path, "wb") as file:
                file.write(data[:size])
            result = run("rewrite", self.path, self.copy)
            self.assertEqual(result.returncode, 1, size)
            self.assertIn("corrupt: ", result.stderr)
            self.assertFalse(os.path.exists(self.copy))


if __name__ == "__main__":
    unittest.main()
