"""llama_test.py LOBIT: what lobit writes, llama.cpp opens and runs, and its own quantizer writes the same bytes."""

import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import llama_cpp
    import numpy as np
except ImportError as missing:
    print(f"SKIP: {__file__} needs llama-cpp-python (script/setup --bench): {missing}")
    sys.exit(77)

LOBIT = sys.argv.pop(1)

# llama.cpp's numbers of file types (enum llama_ftype).
FILE_TYPES = {"f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "bf16": 32, "tq1_0": 36, "tq2_0": 37,
              "q1_0": 40, "q2_0": 41}


@llama_cpp.llama_log_callback
def silent(_level, _text, _user_data):
    pass


def lobit(*args):
    subprocess.run([LOBIT, *map(str, args)], check=True, stdout=subprocess.DEVNULL)


def logits(path):
    """The logits after three tokens."""
    llama = llama_cpp.Llama(str(path), n_ctx=64, n_threads=2, verbose=False, logits_all=True)
    llama.eval([1, 2, 3])
    return np.array(llama.scores[2], dtype=np.float64)


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


class Llama(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lobit-llama-")
        cls.path = pathlib.Path(cls.folder.name)
        cls.source = cls.path / "source.gguf"
        lobit("synth", "-o", cls.source, "--size", "6MiB")
        llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_it_runs_what_lobit_wrote(self):
        original = logits(self.source)
        self.assertGreater(original.std(), 0)
        for encoding in FILE_TYPES:
            with self.subTest(encoding):
                target = self.path / f"{encoding}.gguf"
                lobit("convert", self.source, "-o", target, "--to", encoding, "--overwrite")
                result = logits(target)
                self.assertTrue(np.isfinite(result).all())
                if encoding in ("f16", "bf16", "q8_0"):
                    self.assertGreater(cosine(original, result), 0.99)

    def test_it_opens_split_files(self):
        lobit("convert", self.source, "-o", self.path / "split.gguf", "--to", "q8_0", "--split-max-size", "1MiB")
        parts = sorted(self.path.glob("split-*.gguf"))
        self.assertGreater(len(parts), 1)
        self.assertGreater(cosine(logits(self.source), logits(parts[0])), 0.99)

    def test_its_quantizer_writes_the_same_bytes(self):
        wide = self.path / "wide.gguf"
        lobit("synth", "-o", wide, "--size", "6MiB", "--dtype", "f32", "--seed", "2")
        for source in (self.source, wide):
            for encoding, file_type in FILE_TYPES.items():
                if source == self.source and encoding == "f16":
                    continue
                with self.subTest(f"{source.name} -> {encoding}"):
                    ours, theirs = self.path / "ours.gguf", self.path / "theirs.gguf"
                    lobit("convert", source, "-o", ours, "--to", encoding, "--pure", "--overwrite")
                    params = llama_cpp.llama_model_quantize_default_params()
                    params.ftype, params.nthread, params.pure = file_type, 2, True
                    self.assertEqual(0, llama_cpp.llama_model_quantize(
                        str(source).encode(), str(theirs).encode(), ctypes.byref(params)))
                    self.assert_same_tensors(ours, theirs)

    def assert_same_tensors(self, a, b):
        # gguf-py does not know Q2_0, so lobit itself reads both: the hashes are of the stored bytes.
        run = subprocess.run([LOBIT, "verify", a, b, "--json"], capture_output=True, text=True)
        tensors = json.loads(run.stdout)["tensors"]
        self.assertGreater(len(tensors), 10)
        for tensor in tensors:
            self.assertEqual(tensor["encoding_first"], tensor["encoding_second"], tensor["name"])
            self.assertEqual(tensor["hash_first"], tensor["hash_second"], tensor["name"])


if __name__ == "__main__":
    unittest.main()
