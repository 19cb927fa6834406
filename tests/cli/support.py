"""What the tests of the program share: running it, and small readers and writers of both file formats that know
nothing of lobit. Standard library only.

Each test file is run as: test_NAME.py PROGRAM [unittest arguments]
"""

import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(1)
# Sanitizers need memory of their own, so sizes say nothing there.
SANITIZED = os.environ.get("LOBIT_SANITIZED", "0") not in ("", "0", "OFF")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# Encodings that lobit writes: values in a block, bytes of a block, ggml's number.
ENCODINGS = {
    "f32": (1, 4, 0), "f16": (1, 2, 1), "bf16": (1, 2, 30), "q8_0": (32, 34, 8), "q4_0": (32, 18, 2),
    "q4_1": (32, 20, 3), "q5_0": (32, 22, 6), "q5_1": (32, 24, 7), "q2_0": (64, 18, 42), "q1_0": (128, 18, 41),
    "tq2_0": (256, 66, 35), "tq1_0": (256, 54, 34),
}  # fmt: skip
# Others that tests meet.
BLOCKS = {number: (values, size) for values, size, number in ENCODINGS.values()} | {
    16: (256, 66),  # IQ2_XXS
    24: (1, 1), 26: (1, 4), 27: (1, 8), 28: (1, 8),  # I8, I32, I64, F64
}  # fmt: skip

# GGUF's value types: number and struct format.
VALUE_TYPES = {
    "u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"),
    "f32": (6, "f"), "bool": (7, "?"), "string": (8, None), "array": (9, None), "u64": (10, "Q"), "i64": (11, "q"),
    "f64": (12, "d"),
}  # fmt: skip
TYPE_NAMES = {number: name for name, (number, _) in VALUE_TYPES.items()}


# --- GGUF ---


def gguf_string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_value(kind, value):
    """The bytes of a value; an array's is (element type, list)."""
    if kind == "string":
        return gguf_string(value)
    if kind == "array":
        element, items = value
        head = struct.pack("<IQ", VALUE_TYPES[element][0], len(items))
        return head + b"".join(gguf_value(element, item) for item in items)
    return struct.pack("<" + VALUE_TYPES[kind][1], value)


def padded(data, alignment):
    return data + bytes(-len(data) % alignment)


def elements_of(shape):
    count = 1
    for extent in shape:
        count *= extent
    return count


def gguf_header(tensors, metadata=(), alignment=32):
    """Tensors are (name, shape with the outermost dimension first, ggml type, data)."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, kind, value in metadata:
        out += gguf_string(key) + struct.pack("<I", VALUE_TYPES[kind][0]) + gguf_value(kind, value)
    at = 0
    for name, shape, number, _ in tensors:
        values, size = BLOCKS[number]
        out += gguf_string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        out += struct.pack("<IQ", number, at)
        at += -(-elements_of(shape) // values * size // alignment) * alignment
    return padded(out, alignment)


def write_gguf(path, tensors, metadata=(), alignment=32):
    data = b"".join(padded(data, alignment) for _, _, _, data in tensors)
    Path(path).write_bytes(gguf_header(tensors, metadata, alignment) + data)
    return path


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        assert len(piece) == count, "the file ends early"
        self.at += count
        return piece

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def string(self):
        return self.take(self.number("Q"))

    def skip_value(self, kind):
        if kind == "string":
            self.string()
        elif kind == "array":
            element = TYPE_NAMES[self.number("I")]
            for _ in range(self.number("Q")):
                self.skip_value(element)
        else:
            self.take(struct.calcsize("<" + VALUE_TYPES[kind][1]))


class Gguf:
    """metadata: key -> (type, bytes of the value), in order. tensors: name -> (shape, ggml type, offset, bytes)."""

    def __init__(self, path):
        cursor = Cursor(Path(path).read_bytes())
        assert cursor.take(4) == b"GGUF"
        self.version = cursor.number("I")
        tensors, keys = cursor.number("Q"), cursor.number("Q")
        self.metadata, self.tensors = {}, {}
        for _ in range(keys):
            key, kind = cursor.string().decode(), TYPE_NAMES[cursor.number("I")]
            start = cursor.at
            cursor.skip_value(kind)
            self.metadata[key] = (kind, cursor.data[start : cursor.at])
        self.alignment = struct.unpack("<I", self.metadata.get("general.alignment", (None, b"\x20\0\0\0"))[1])[0]
        infos = []
        for _ in range(tensors):
            name = cursor.string()
            shape = tuple(cursor.number("Q") for _ in range(cursor.number("I")))[::-1]
            infos.append((name, shape, cursor.number("I"), cursor.number("Q")))
        base = cursor.at + -cursor.at % self.alignment
        for name, shape, number, offset in infos:
            values, size = BLOCKS[number]
            bytes_ = elements_of(shape) // values * size
            data = cursor.data[base + offset : base + offset + bytes_]
            assert len(data) == bytes_, "the file ends inside a tensor"
            assert offset % self.alignment == 0
            self.tensors[name.decode(errors="surrogateescape")] = (shape, number, base + offset, data)

    def u32(self, key):
        kind, data = self.metadata[key]
        assert kind == "u32", kind
        return struct.unpack("<I", data)[0]


# --- safetensors ---


def write_safetensors(path, tensors, metadata=None):
    """Tensors are (name, dtype, shape, data)."""
    header, at = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = padded_json(header)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors))
    return path


def padded_json(header):
    text = json.dumps(header).encode()
    return text + b" " * (-len(text) % 8)


class Safetensors:
    """tensors: name -> (dtype, shape, data)."""

    def __init__(self, path):
        data = Path(path).read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        self.metadata = header.pop("__metadata__", {})
        self.tensors = {}
        for name, info in header.items():
            begin, end = info["data_offsets"]
            self.tensors[name] = (info["dtype"], tuple(info["shape"]), data[8 + size + begin : 8 + size + end])


# --- values ---


def f32_bytes(values):
    return struct.pack(f"<{len(values)}f", *values)


def f16_bytes(values):
    return struct.pack(f"<{len(values)}e", *values)


def bf16_bytes(values):
    """Cuts values off after 8 bits: exact for short ones."""
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def weights(count, seed=1):
    """Values that F16 and BF16 hold exactly, so that a test file says the same in all three."""
    rng = random.Random(seed)
    return [rng.randrange(-127, 128) / 1024 for _ in range(count)]


# --- running the program ---


class Run:
    def __init__(self, done):
        self.code, self.raw_out, self.raw_err = done.returncode, done.stdout, done.stderr
        self.out, self.err = done.stdout.decode(), done.stderr.decode()


def lobit(*args, **options):
    options.setdefault("timeout", 120)
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    command = [PROGRAM, *(os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in args)]
    done = subprocess.run(command, check=False, **options)
    done.stdout, done.stderr = done.stdout or b"", done.stderr or b""
    return Run(done)


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def tree(folder):
    """Every file under a folder, hidden ones too, with a hash of its bytes."""
    folder = Path(folder)
    return {str(p.relative_to(folder)): digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


class CliTest(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lobit-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def path(self, name):
        return self.folder / name

    def ok(self, *args, **options):
        run = lobit(*args, **options)
        self.assertEqual(run.code, 0, f"lobit {' '.join(map(str, args))}\n{run.err}")
        return run

    def json(self, *args, code=0, **options):
        run = lobit(*args, "--json", **options)
        self.assertEqual(run.code, code, f"lobit {' '.join(map(str, args))}\n{run.err}")
        return json.loads(run.out)

    def fails(self, code, says, *args, **options):
        """`says`: words that the message on stderr must hold; it is one line that names the program."""
        run = lobit(*args, **options)
        what = f"lobit {' '.join(map(str, args))}\n{run.err}"
        self.assertEqual(run.code, code, what)
        self.assertTrue(run.err.startswith("lobit: error: ") or "\nlobit: error: " in run.err, what)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(str(word), run.err, what)
        return run

    def synth(self, name, size="1MiB", *args):
        self.ok("synth", "-o", self.path(name), "--size", size, *args)
        return self.path(name)

    def assert_no_leftovers(self, folder=None):
        """No temporary file, whatever it is called: nothing hidden lies in the folder."""
        hidden = [p for p in (folder or self.folder).rglob("*") if re.match(r"\.|.*(tmp|partial)", p.name)]
        self.assertEqual(hidden, [])

    def peak_of(self, *args):
        """The peak of a run that ends by itself, as GNU time or a shell sees it: through a small parent."""
        code = (
            "import os, resource, sys\n"
            "pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,"
            " file_actions=[(os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0)])\n"
            "status = os.waitpid(pid, 0)[1]\n"
            "assert os.waitstatus_to_exitcode(status) == 0\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, PROGRAM, *map(str, args)], capture_output=True, check=True
        )
        return int(done.stdout) * KIB

    def small_model(self, name="small.gguf"):
        """A model of F32 with one tensor for each default: GGUF's names."""
        tensors = [
            ("token_embd.weight", (8, 256), 0, f32_bytes(weights(2048, 1))),
            ("blk.0.attn_norm.weight", (256,), 0, f32_bytes(weights(256, 2))),
            ("blk.0.attn_q.weight", (4, 256), 0, f32_bytes(weights(1024, 3))),
            ("blk.0.attn_q.bias", (256,), 0, f32_bytes(weights(256, 4))),
            ("blk.0.ffn_gate_inp.weight", (4, 256), 0, f32_bytes(weights(1024, 5))),
            ("blk.0.ffn_down.weight", (3, 512), 0, f32_bytes(weights(1536, 6))),
            ("blk.0.ffn_norm.weight", (2, 256), 0, f32_bytes(weights(512, 7))),
            ("output.weight", (8, 256), 0, f32_bytes(weights(2048, 8))),
        ]
        metadata = [("general.architecture", "string", "llama"), ("general.name", "string", "small")]
        return write_gguf(self.path(name), tensors, metadata)

    def encodings(self, path):
        return {t["name"]: t["encoding"] for t in self.json("inspect", path)["tensors"]}


def main():
    unittest.main(module="__main__")
