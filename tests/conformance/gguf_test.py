"""Files of the Python package gguf read by lobit, and files laid out by lobit read by the package.

Usage: gguf_test.py FORMAT_TOOL
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

import gguf
import numpy as np

TOOL = sys.argv.pop(1)

Q = gguf.GGMLQuantizationType
# Every type of the package, and the encoding of lobit. Q8_1 is left out: the package takes its block for 40
# bytes, ggml itself for 36 (block_q8_1 has two halves and 32 bytes); no file stores it.
TYPES = {
    q: ("raw_" if q.name in ("I8", "I16", "I32", "I64") else "") + q.name.lower() for q in Q if q != Q.Q8_1
}
NUMBERS = [
    ("u8", "add_uint8", "B", 200),
    ("i8", "add_int8", "b", -100),
    ("u16", "add_uint16", "H", 65535),
    ("i16", "add_int16", "h", -32768),
    ("u32", "add_uint32", "I", 2**32 - 1),
    ("i32", "add_int32", "i", -(2**31)),
    ("f32", "add_float32", "f", 1.5e-7),
    ("bool", "add_bool", "?", True),
    ("u64", "add_uint64", "Q", 2**64 - 1),
    ("i64", "add_int64", "q", -(2**63)),
    ("f64", "add_float64", "d", 1.5e-300),
]


def run(*args):
    return subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=60)


class GgufTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.tensors = {}  # name -> (type, logical shape, bytes)

    def path(self, name):
        return os.path.join(self.folder, name)

    def listed(self, path):
        result = run("list", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def rewritten(self, path):
        result = run("rewrite", path, self.path("out.gguf"))
        self.assertEqual(result.returncode, 0, result.stderr)
        return self.path("out.gguf")

    def add_every_value(self, writer):
        for name, add, _, value in NUMBERS:
            getattr(writer, add)(f"test.{name}", value)
        writer.add_string("test.string", 'ü "\n😀')
        writer.add_array("test.strings", ["a", "", "日本", "b" * 1000])
        writer.add_array("test.ints", [1, -2, 3])
        writer.add_array("test.floats", [0.5, -1e30])
        writer.add_array("test.bools", [True, False, True])
        writer.add_array("test.vocabulary", [f"token {i}" for i in range(5000)])

    def add_tensor(self, writer, name, q, shape):
        """Random bytes under a name, as numpy holds a tensor of this type and logical shape."""
        block, size = gguf.GGML_QUANT_SIZES[q]
        count = int(np.prod(shape, dtype=np.int64)) // block * size
        data = np.random.default_rng(count).integers(0, 256, count, dtype=np.uint8)
        self.tensors[name] = (q, tuple(shape), data.tobytes())
        stored = data.reshape((*shape[:-1], shape[-1] // block * size)) if shape else data
        writer.add_tensor(name, stored, raw_shape=stored.shape if shape else None, raw_dtype=q)

    def written_by_the_package(self, alignment=None):
        writer = gguf.GGUFWriter(self.path("in.gguf"), "llama")
        if alignment is not None:
            writer.add_custom_alignment(alignment)
        self.add_every_value(writer)
        for q in TYPES:
            block = gguf.GGML_QUANT_SIZES[q][0]
            self.add_tensor(writer, f"{q.name}.weight", q, (3, 2 * block))
        for shape in [(1,), (7,), (2, 3, 5), (2, 3, 4, 5)]:
            self.add_tensor(writer, f"rank_{len(shape)}_{shape[0]}", Q.F16, shape)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return self.path("in.gguf")

    def check_listed(self, path):
        listed = self.listed(path)
        self.assertEqual([t["name"] for t in listed["tensors"]], list(self.tensors))
        with open(path, "rb") as file:
            content = file.read()
        for tensor in listed["tensors"]:
            q, shape, data = self.tensors[tensor["name"]]
            self.assertEqual(tensor["encoding"], TYPES[q])
            self.assertEqual(tuple(tensor["shape"]), shape)
            self.assertEqual(content[tensor["offset"] : tensor["offset"] + tensor["bytes"]], data, tensor["name"])
        return listed

    def check_read_by_the_package(self, path, alignment):
        reader = gguf.GGUFReader(path)
        self.assertEqual(reader.alignment, alignment)
        self.assertEqual([t.name for t in reader.tensors], list(self.tensors))
        for tensor in reader.tensors:
            q, shape, data = self.tensors[tensor.name]
            self.assertEqual(tensor.tensor_type, q)
            self.assertEqual(tuple(reversed(tensor.shape.tolist())), shape)
            self.assertEqual(tensor.data.tobytes(), data, tensor.name)
            self.assertEqual(tensor.data_offset % alignment, 0)
        return reader

    def test_lobit_reads_what_the_package_writes(self):
        metadata = self.check_listed(self.written_by_the_package())["metadata"]
        self.assertEqual(metadata["general.architecture"], "llama")
        for name, _, code, value in NUMBERS:
            kind, _, count, data = metadata[f"test.{name}"]
            self.assertEqual((kind, count), (name, 1))
            self.assertEqual(bytes.fromhex(data), struct.pack("<" + code, value), name)
        self.assertEqual(metadata["test.string"], 'ü "\n😀')
        kind, element, count, data = metadata["test.strings"]
        self.assertEqual((kind, element, count), ("array", "string", 4))
        texts = [text.encode() for text in ["a", "", "日本", "b" * 1000]]
        self.assertEqual(bytes.fromhex(data), b"".join(struct.pack("<Q", len(t)) + t for t in texts))
        self.assertEqual(metadata["test.ints"], ["array", "i32", 3, struct.pack("<3i", 1, -2, 3).hex()])
        self.assertEqual(metadata["test.bools"], ["array", "bool", 3, "010001"])
        self.assertEqual(metadata["test.vocabulary"][2], 5000)

    def test_the_package_reads_what_lobit_lays_out(self):
        for alignment in (32, 8, 4096):
            with self.subTest(alignment=alignment):
                self.tensors.clear()
                path = self.written_by_the_package(None if alignment == 32 else alignment)
                out = self.rewritten(path)
                self.check_listed(out)
                before, after = gguf.GGUFReader(path), self.check_read_by_the_package(out, alignment)
                self.assertEqual(list(before.fields), list(after.fields))
                for key, field in before.fields.items():
                    self.assertEqual(field.types, after.fields[key].types, key)
                    self.assertEqual(field.contents(), after.fields[key].contents(), key)

    def test_both_write_the_same_bytes(self):
        for alignment in (None, 64):
            with self.subTest(alignment=alignment):
                self.tensors.clear()
                path = self.written_by_the_package(alignment)
                with open(path, "rb") as theirs, open(self.rewritten(path), "rb") as ours:
                    self.assertEqual(theirs.read(), ours.read())

    def test_split_files_of_the_package_open_as_one(self):
        writer = gguf.GGUFWriter(self.path("s.gguf"), "llama", split_max_tensors=2)
        writer.add_string("test.string", "x")
        for i in range(5):
            self.add_tensor(writer, f"blk.{i}.weight", Q.F32, (2, 3))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        first = self.path("s-00001-of-00003.gguf")
        listed = self.listed(first)
        self.assertEqual([t["name"] for t in listed["tensors"]], list(self.tensors))
        self.assertEqual([t["part"] for t in listed["tensors"]], [0, 0, 1, 1, 2])
        self.assertEqual(list(listed["metadata"]), ["general.architecture", "test.string"])
        self.check_read_by_the_package(self.rewritten(first), 32)

        result = run("list", self.path("s-00002-of-00003.gguf"))
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"s-00001-of-00003\.gguf")
        os.remove(self.path("s-00003-of-00003.gguf"))
        self.assertRegex(run("list", first).stderr, r"^not found: .*s-00003-of-00003\.gguf")

    def test_both_refuse_the_same_files(self):
        with open(self.written_by_the_package(), "rb") as file:
            good = file.read()
        twice = good.replace(b"test.ints", b"test.bool", 1).replace(b"test.bools", b"test.boola", 1)
        cases = {
            "magic": b"GGUG" + good[4:],
            "version 1": good[:4] + struct.pack("<I", 1) + good[8:],
            "version 4": good[:4] + struct.pack("<I", 4) + good[8:],
            "key twice": twice,
            "tensor twice": good.replace(b"rank_2_", b"rank_1_", 1).replace(b"rank_1_7", b"rank_1_1", 1),
            "tensor type": good.replace(b"F32.weight\x02", b"F32.weight\x63", 1),
            "cut in the metadata": good[:300],
            "cut in the data": good[:-64],
        }
        for name, content in cases.items():
            with self.subTest(name):
                path = self.path("bad.gguf")
                with open(path, "wb") as file:
                    file.write(content)
                with self.assertRaises(Exception):
                    gguf.GGUFReader(path)
                result = run("list", path)
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertRegex(result.stderr, r"bad\.gguf: ")


if __name__ == "__main__":
    unittest.main(verbosity=2)
