"""Tensors that lobit saves read by NumPy, safetensors and gguf-py, and those that they save loaded and mapped by
lobit.

Usage: tensor_file_test.py TENSOR_TOOL
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import gguf
import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

TOOL = sys.argv.pop(1)
SEED = 20261122
SHAPES = [(), (0,), (7,), (5, 33), (3, 4, 64), (2, 1, 2, 1, 2, 1, 2, 3)]
FLOATS = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


class Stack:
    """The tool's stack of tensors."""

    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, line, data=b""):
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode().rstrip("\n")
        if not answer.startswith("ok "):
            raise ValueError(answer)
        return self.process.stdout.read(int(answer.split()[1]))

    def make(self, form, values):
        shape = ",".join(str(n) for n in values.shape) or "-"
        self(f"make {form} {shape}", np.ascontiguousarray(values, np.float32).tobytes())

    def pop_bytes(self):
        found = self("bytes")
        self("drop")
        return found

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class TensorFileTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.rng = np.random.default_rng(SEED)
        self.stack = Stack()
        self.addCleanup(self.stack.close)

    def path(self, name):
        return os.path.join(self.folder, name)

    def values(self, shape):
        return self.rng.normal(0, 1, shape).astype(np.float32).reshape(shape)

    def test_numpy_loads_what_is_saved_and_the_other_way_round(self):
        for form, dtype in FLOATS.items():
            for shape in SHAPES:
                values = self.values(shape)
                self.stack.make(form, values)
                self.stack(f"save {self.path('a.npy')}")
                saved = self.stack.pop_bytes()
                found = np.load(self.path("a.npy"))
                self.assertEqual(found.shape, shape)
                self.assertEqual(found.tobytes(), values.astype(dtype).tobytes(), (form, shape))
                self.assertEqual(found.tobytes(), saved)
                np.save(self.path("b.npy"), values.astype(dtype))
                for verb in ("file", "map"):
                    self.stack(f"{verb} {self.path('b.npy')}")
                    self.assertEqual(self.stack("shape").decode(), str(list(shape)))
                    self.assertEqual(self.stack("format").decode(), form)
                    self.assertEqual(self.stack.pop_bytes(), saved, (verb, form, shape))

    def test_numpy_sees_a_view_in_order(self):
        values = self.values((6, 4, 5))
        self.stack.make("f32", values)
        self.stack("transpose 2,0,1")
        self.stack("slice 0 1 4")
        self.stack(f"save {self.path('a.npy')}")
        np.testing.assert_array_equal(np.load(self.path("a.npy")), values.transpose(2, 0, 1)[1:4])

    def test_safetensors_loads_what_is_saved_and_the_other_way_round(self):
        for form, dtype in FLOATS.items():
            for shape in SHAPES:
                values = self.values(shape).astype(dtype)
                self.stack.make(form, values.astype(np.float32))
                self.stack("name w")
                self.stack(f"save {self.path('a.safetensors')}")
                saved = self.stack.pop_bytes()
                found = load_file(self.path("a.safetensors"))["w"]
                self.assertEqual(found.shape, shape)
                self.assertEqual(found.tobytes(), saved)
                save_file({"other": values, "w": values}, self.path("b.safetensors"))
                for verb in ("file", "map"):
                    self.stack(f"{verb} {self.path('b.safetensors')} w")
                    self.assertEqual(self.stack.pop_bytes(), saved, (verb, form, shape))

    def test_a_planar_tensor_is_as_documented(self):
        values = self.values((3, 20))
        self.stack.make("i4_per_row", values)
        self.stack("name w")
        self.stack(f"save {self.path('a.safetensors')}")
        decoded = np.frombuffer(self.stack("values"), np.float32).reshape(3, 20)
        with safe_open(self.path("a.safetensors"), "np") as file:
            raw = file.get_tensor("w")
            note = json.loads(file.metadata()["lobit.tensor.w"])
        self.assertEqual(note, {"format": "i4 per row", "shape": [3, 20]})
        self.assertEqual(raw.shape, (44,))
        pairs = raw[:30].reshape(3, 10)
        codes = np.stack([pairs & 15, pairs >> 4], axis=2).reshape(3, 20).astype(np.float32)
        scales = raw[32:].view("<f4")
        np.testing.assert_array_equal((codes - 8) * scales[:, None], decoded)
        # What others copy with its metadata is still the tensor.
        with safe_open(self.path("a.safetensors"), "np") as file:
            save_file({"w": raw}, self.path("b.safetensors"), metadata=file.metadata())
        self.stack(f"map {self.path('b.safetensors')} w")
        self.assertEqual(self.stack("format").decode(), "i4 per row")
        self.assertEqual(self.stack("values"), decoded.tobytes())

    def test_gguf_py_loads_blocks(self):
        for form in ("q8_0", "q4_0", "tq2_0", "f16"):
            self.stack.make(form, self.values((4, 512)))
            self.stack("name blk.0.w")
            self.stack(f"save {self.path('a.gguf')}")
            saved = self.stack.pop_bytes()
            tensor = gguf.GGUFReader(self.path("a.gguf")).tensors[0]
            self.assertEqual(tensor.name, "blk.0.w")
            self.assertEqual(list(tensor.shape), [512, 4])
            self.assertEqual(tensor.data.tobytes(), saved)
            self.stack(f"map {self.path('a.gguf')} blk.0.w")
            self.assertEqual(self.stack.pop_bytes(), saved)


if __name__ == "__main__":
    unittest.main()
