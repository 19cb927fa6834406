"""Files of the Python package safetensors read by lobit, and files laid out by lobit read by the package.

Usage: safetensors_test.py FORMAT_TOOL
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

TOOL = sys.argv.pop(1)

# dtype of the package -> (name in the header, encoding of lobit, bytes of 24 values)
DTYPES = {
    "bool": ("BOOL", "bool", 24),
    "int8": ("I8", "raw_i8", 24),
    "uint8": ("U8", "raw_u8", 24),
    "int16": ("I16", "raw_i16", 48),
    "uint16": ("U16", "raw_u16", 48),
    "int32": ("I32", "raw_i32", 96),
    "uint32": ("U32", "raw_u32", 96),
    "int64": ("I64", "raw_i64", 192),
    "uint64": ("U64", "raw_u64", 192),
    "float16": ("F16", "f16", 48),
    "bfloat16": ("BF16", "bf16", 48),
    "float32": ("F32", "f32", 96),
    "float64": ("F64", "f64", 192),
    "complex64": ("C64", "c64", 192),
    "float8_e4m3fn": ("F8_E4M3", "f8_e4m3", 24),
    "float8_e5m2": ("F8_E5M2", "f8_e5m2", 24),
    "float8_e8m0fnu": ("F8_E8M0", "f8_e8m0", 24),
    "float8_e4m3fnuz": ("F8_E4M3FNUZ", "f8_e4m3fnuz", 24),
    "float8_e5m2fnuz": ("F8_E5M2FNUZ", "f8_e5m2fnuz", 24),
    "float4_e2m1fn_x2": ("F4", "f4", 12),
    "float6_e2m3fn": ("F6_E2M3", "f6_e2m3", 18),
    "float6_e3m2fn": ("F6_E3M2", "f6_e3m2", 18),
}


def run(*args):
    return subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=60)


def header_of(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), size


class SafetensorsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def listed(self, path):
        result = run("list", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def rewritten(self, path):
        result = run("rewrite", path, self.path("out.safetensors"))
        self.assertEqual(result.returncode, 0, result.stderr)
        return self.path("out.safetensors")

    def write_raw(self, name, header, data):
        text = header if isinstance(header, bytes) else header.encode()
        return self.write(name, struct.pack("<Q", len(text)) + text + data)

    def all_dtypes(self, serialized_by_package):
        """A file with a tensor of 24 random values for each dtype: (path, {name: bytes})."""
        random = np.random.default_rng(1)
        tensors = {}
        for dtype, (_, _, size) in DTYPES.items():
            data = random.integers(0, 2 if dtype == "bool" else 256, size, dtype=np.uint8).tobytes()
            tensors[dtype] = data
        if serialized_by_package:
            tensors = {n: d for n, d in tensors.items() if n in package_dtypes()}
            content = serialize(tensors, {"by": "package", "ü": '"\n'})
            return self.write("in.safetensors", content), tensors
        header, data = {}, b""
        for name, payload in tensors.items():
            header[name] = {
                "dtype": DTYPES[name][0],
                "shape": [4, 6],
                "data_offsets": [len(data), len(data) + len(payload)],
            }
            data += payload
        return self.write_raw("in.safetensors", json.dumps(header), data), tensors

    def check_listed(self, path, tensors):
        with open(path, "rb") as file:
            content = file.read()
        listed = self.listed(path)
        self.assertEqual({t["name"] for t in listed["tensors"]}, set(tensors))
        for tensor in listed["tensors"]:
            name = tensor["name"]
            self.assertEqual(tensor["encoding"], DTYPES[name][1])
            self.assertEqual(tensor["shape"], [4, 6])
            self.assertEqual(content[tensor["offset"] : tensor["offset"] + tensor["bytes"]], tensors[name])
        return listed

    def test_lobit_reads_what_the_package_serializes(self):
        path, tensors = self.all_dtypes(serialized_by_package=True)
        self.assertGreaterEqual(len(tensors), 12)
        listed = self.check_listed(path, tensors)
        self.assertEqual(listed["metadata"], {"by": "package", "ü": '"\n'})

    def test_the_package_reads_every_dtype_that_lobit_writes(self):
        path, tensors = self.all_dtypes(serialized_by_package=False)
        self.check_listed(path, tensors)
        out = self.rewritten(path)
        self.check_listed(out, tensors)
        with open(out, "rb") as file:
            read = dict(safetensors.deserialize(file.read()))
        self.assertEqual(set(read), set(tensors))
        for name, tensor in read.items():
            self.assertEqual(tensor["dtype"], DTYPES[name][0])
            self.assertEqual(bytes(tensor["data"]), tensors[name])

    def test_numpy_arrays_survive_both_ways(self):
        random = np.random.default_rng(2)
        arrays = {
            "f32": random.standard_normal((3, 5)).astype(np.float32),
            "f16": random.standard_normal((2, 3, 4)).astype(np.float16),
            "bf16": random.standard_normal((7,)).astype(ml_dtypes.bfloat16),
            "scalar": np.array(3.5, dtype=np.float64),
            "empty": np.zeros((2, 0, 3), dtype=np.int32),
            "flags": np.array([True, False]),
            "name \" \\ \t ü 😀": np.arange(4, dtype=np.uint16),
        }
        safetensors.numpy.save_file(arrays, self.path("in.safetensors"), {"format": "np"})
        out = self.rewritten(self.path("in.safetensors"))
        for path in (self.path("in.safetensors"), out):
            read = safetensors.numpy.load_file(path)
            self.assertEqual(set(read), set(arrays))
            for name, array in arrays.items():
                self.assertEqual(read[name].dtype, array.dtype)
                self.assertEqual(read[name].shape, array.shape)
                self.assertEqual(read[name].tobytes(), array.tobytes())
            with safetensors.safe_open(path, "np") as file:
                self.assertEqual(file.metadata(), {"format": "np"})
        self.assertEqual(
            [(t["name"], t["encoding"], t["shape"]) for t in self.listed(out)["tensors"]],
            [(t["name"], t["encoding"], t["shape"]) for t in self.listed(self.path("in.safetensors"))["tensors"]],
        )

    def test_lobit_aligns_the_data(self):
        _, size = header_of(self.rewritten(self.all_dtypes(serialized_by_package=False)[0]))
        self.assertEqual(size % 8, 0)

    def test_blocks_keep_their_encoding_and_are_bytes_to_the_package(self):
        data = bytes(range(72))
        header = {
            "__metadata__": {"lobit.format": "1", "lobit.encoding.w": "q4_0", "lobit.shape.w": "[2, 64]"},
            "w": {"dtype": "U8", "shape": [2, 36], "data_offsets": [0, 72]},
        }
        path = self.write_raw("in.safetensors", json.dumps(header), data)
        tensor = self.listed(path)["tensors"][0]
        self.assertEqual((tensor["encoding"], tensor["shape"], tensor["bytes"]), ("q4_0", [2, 64], 72))
        out = self.rewritten(path)
        array = safetensors.numpy.load_file(out)["w"]
        self.assertEqual((array.dtype, array.shape, array.tobytes()), (np.uint8, (2, 36), data))
        self.assertEqual(header_of(out)[0], header)

    def test_both_refuse_the_same_files(self):
        def one(shape="[2]", dtype="U8", offsets="[0,2]", extra=""):
            return f'{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}}}'

        cases = {
            "empty file": b"",
            "7 bytes": bytes(7),
            "no header": bytes(8),
            "header beyond the file": struct.pack("<Q", 3) + b"{}",
            "size 2^64-1": struct.pack("<Q", 2**64 - 1) + b"{}",
            "NUL padding": struct.pack("<Q", 4) + b"{}\0\0",
            "byte-order mark": struct.pack("<Q", 5) + b"\xef\xbb\xbf{}",
            "array": struct.pack("<Q", 2) + b"[]",
        }
        for name, header, data in [
            ("trailing byte", one(), 3),
            ("missing byte", one(), 1),
            ("unknown dtype", one(dtype="F33"), 2),
            ("lower case dtype", one(dtype="u8"), 2),
            ("negative offset", one(offsets="[-1,1]"), 2),
            ("fractional offset", one(offsets="[0.0,2.0]"), 2),
            ("one offset", one(offsets="[0]"), 2),
            ("backward offsets", one(offsets="[2,0]"), 2),
            ("hole", one(offsets="[1,3]"), 3),
            ("wrapping shape", one("[4294967296,4294967296]", offsets="[0,0]"), 0),
            ("wrapping size", one("[4611686018427387904]", "F32", "[0,0]"), 0),
            ("odd F4", one("[3]", "F4"), 2),
            ("number as metadata", '{"__metadata__":{"a":1}}', 0),
            ("missing field", '{"a":{"dtype":"U8","shape":[2]}}', 2),
            ("repeated field", one(extra=',"dtype":"U8"'), 2),
            ("lone surrogate", '{"\\ud800":1}', 0),
        ]:
            cases[name] = struct.pack("<Q", len(header)) + header.encode() + bytes(data)
        for name, content in cases.items():
            with self.subTest(name):
                with self.assertRaises(safetensors.SafetensorError):
                    safetensors.deserialize(content)
                result = run("list", self.write("bad.safetensors", content))
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertRegex(result.stderr, r"^(corrupt|limit): .*bad\.safetensors: byte \d+: ")


def serialize(tensors, metadata=None):
    """The package's bytes for {dtype: bytes}, each tensor named as its dtype."""
    buffers = {dtype: np.frombuffer(data, np.uint8) for dtype, data in tensors.items()}
    specs = {
        # PyTorch's packed type counts pairs.
        dtype: safetensors.TensorSpec(
            dtype=dtype,
            shape=[4, 3] if dtype.endswith("_x2") else [4, 6],
            data_ptr=buffer.ctypes.data,
            data_len=buffer.nbytes,
        )
        for dtype, buffer in buffers.items()
    }
    return bytes(safetensors.serialize(specs, metadata))


def accepts(dtype):
    try:
        serialize({dtype: bytes(DTYPES[dtype][2])})
        return True
    except safetensors.SafetensorError:
        return False


def package_dtypes():
    return [dtype for dtype in DTYPES if accepts(dtype)]


if __name__ == "__main__":
    unittest.main(verbosity=2)
