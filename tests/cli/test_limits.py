"""--memory-limit: kept for inputs far larger than it, and refused with the least that works."""

import re
import tempfile
import unittest
from pathlib import Path

from support import KIB, MIB, SANITIZED, CliTest, Gguf, digest, f32_bytes, lobit, main, weights, write_gguf

# What the kernel rounds, and the allocator's and loader's own pages.
SLACK = 2 * MIB


class Peak(CliTest):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory(prefix="lobit-cli-")
        cls.addClassCleanup(holder.cleanup)
        cls.source = Path(holder.name) / "m.gguf"
        assert lobit("synth", "-o", cls.source, "--size", "256MiB").code == 0

    def start_up(self):
        """What the program holds before it has opened anything of size."""
        dry = self.json("convert", self.small_model(), "-o", self.path("x.gguf"), "--to", "q8_0", "--dry-run")
        return dry["peak_rss"]

    @unittest.skipIf(SANITIZED, "sanitizers hold memory of their own")
    def test_the_peak_stays_under_the_limit_and_the_start(self):
        start = self.start_up()
        self.assertLess(start, 40 * MIB)
        for encoding, limit, threads in [
            ("tq2_0", 64 * MIB, 2), ("f32", 64 * MIB, 16), ("q8_0", 1 * MIB, 2), ("bf16", 8 * MIB, 5),
            ("q4_0", 512 * KIB, 1),
        ]:  # fmt: skip
            out = self.path("o.gguf")
            report = self.json(
                "convert", self.source, "-o", out, "--to", encoding, "--memory-limit", limit, "--threads", threads,
                "--overwrite",
            )  # fmt: skip
            with self.subTest(encoding=encoding, limit=limit, threads=threads):
                self.assertGreater(report["peak_rss"], MIB)
                self.assertLess(report["peak_rss"], start + limit + SLACK)

    @unittest.skipIf(SANITIZED, "sanitizers hold memory of their own")
    def test_so_do_inspect_and_verify(self):
        start = self.start_up()
        small = self.path("o.gguf")
        self.ok("convert", self.source, "-o", small, "--to", "q8_0")
        for args in (("inspect", self.source, "--stats"), ("verify", self.source, small, "--nmse", "0.01")):
            peak = self.peak_of(*args, "--memory-limit", "24MiB", "--threads", "8")
            self.assertLess(peak, start + 24 * MIB + SLACK, args)

    @unittest.skipIf(SANITIZED, "sanitizers hold memory of their own")
    def test_the_reported_peak_is_the_programs_own(self):
        ballast = bytearray(200 * MIB)  # a parent this large must not show
        for i in range(0, len(ballast), 4096):
            ballast[i] = 1
        self.assertLess(self.start_up(), 40 * MIB)

    def test_the_bytes_do_not_depend_on_the_limit(self):
        hashes = set()
        for limit in ("300KiB", "1MiB", "64MiB", "50%"):
            out = self.path("o.gguf")
            args = ("convert", self.source, "-o", out, "--to", "q4_0", "--overwrite", "--memory-limit", limit)
            self.ok(*args)
            hashes.add(digest(out))
        self.assertEqual(len(hashes), 1)


class LargeHeaders(CliTest):
    """A vocabulary can be most of the memory that a limit leaves."""

    def setUp(self):
        super().setUp()
        words = [f"token number {i} with text" for i in range(400_000)]
        metadata = [("general.architecture", "string", "llama"), ("tokenizer.ggml.tokens", "array", ("string", words))]
        data = f32_bytes(weights(1024)) * 64
        self.source = write_gguf(self.path("m.gguf"), [(f"t{i}.weight", (64, 1024), 0, data) for i in range(4)], metadata)

    def least(self, *args):
        return self.json(*args, "--memory-limit", "1KiB", code=3)["error"]["detail"]["required"]

    @unittest.skipIf(SANITIZED, "sanitizers hold memory of their own")
    def test_the_least_that_is_named_is_kept(self):
        start = self.json("convert", self.small_model(), "-o", self.path("x.gguf"), "--to", "q8_0", "--dry-run")["peak_rss"]
        header = self.source.stat().st_size - MIB
        for name, extra in (("o.gguf", ()), ("o.safetensors", ()), ("s.gguf", ("--split-max-size", "200KB"))):
            args = ("convert", self.source, "-o", self.path(name), "--to", "q8_0", *extra)
            least = self.least(*args)
            with self.subTest(name):
                self.assertLess(least, 8 * header + 16 * MIB)
                report = self.json(*args, "--memory-limit", least)
                self.assertLess(report["peak_rss"], start + least + SLACK)
        back = ("convert", self.path("o.safetensors"), "-o", self.path("back.gguf"), "--keep", ".")
        least = self.least(*back)
        self.assertLess(self.json(*back, "--memory-limit", least)["peak_rss"], start + least + SLACK)
        self.ok("verify", self.path("o.gguf"), self.path("back.gguf"))

    def test_shards_do_not_repeat_it(self):
        self.ok("convert", self.source, "-o", self.path("out"), "--to", "q8_0", "--split-max-size", "200KB")
        sizes = sorted(p.stat().st_size for p in self.path("out").glob("*.safetensors"))
        self.assertEqual(len(sizes), 2)
        self.assertLess(sizes[0], MIB)
        self.assertGreater(sizes[1], 8 * MIB)
        self.ok("convert", self.path("out"), "-o", self.path("back.gguf"), "--keep", ".")
        self.ok("convert", self.source, "-o", self.path("o.gguf"), "--to", "q8_0")
        self.assertEqual(Gguf(self.path("back.gguf")).metadata, Gguf(self.path("o.gguf")).metadata)


class TooSmall(CliTest):
    def least(self, *args):
        """Runs with far too little; returns the least that the error names."""
        error = self.json(*args, "--memory-limit", "1KiB", code=3)["error"]
        named = re.search(r"least that works is .* \((\d+) bytes\)", error["message"])
        self.assertTrue(named, error["message"])
        self.assertEqual(error["detail"]["required"], int(named[1]))
        self.assertEqual(error["detail"]["available"], KIB)
        return int(named[1])

    def test_the_least_that_is_named_works_and_a_byte_less_does_not(self):
        source = self.synth("m.gguf", "2MiB")
        out = self.path("o.gguf")
        for args in [
            ("convert", source, "-o", out, "--to", "tq2_0", "--overwrite"),
            ("convert", source, "-o", out, "--to", "tq2_0", "--ternary", "absmean", "--overwrite"),
            ("inspect", source, "--stats"),
            ("verify", source, source),
        ]:
            least = self.least(*args)
            self.assertLess(least, 8 * MIB)
            self.ok(*args, "--memory-limit", least)
            self.fails(3, str(least), *args, "--memory-limit", least - 1)

    def test_nothing_is_written(self):
        source = self.synth("m.gguf", "1MiB")
        for target in ("o.gguf", "folder"):
            self.least("convert", source, "-o", self.path(target), "--to", "q8_0")
            self.assertFalse(self.path(target).exists())
        self.assert_no_leftovers()

    def test_verify_after_convert_fits_what_convert_needs(self):
        source = self.synth("m.gguf", "2MiB")
        args = ("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0", "--verify")
        least = self.least(*args)
        self.assertFalse(self.path("o.gguf").exists(), "refused after the work instead of before it")
        self.ok(*args, "--memory-limit", least)
        report = self.json(*args, "--memory-limit", least, "--overwrite")
        self.assertGreater(report["totals"]["sqnr_db"], 30)

    def test_the_header_counts(self):
        tensors = [(f"tensor.{i:06}.weight", (1, 32), 0, f32_bytes(weights(32))) for i in range(4000)]
        source = write_gguf(self.path("many.gguf"), tensors)
        few = write_gguf(self.path("few.gguf"), tensors[:4])
        more = self.least("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0")
        less = self.least("convert", few, "-o", self.path("o.gguf"), "--to", "q8_0")
        self.assertGreater(more - less, 4000 * 100)
        self.assertLess(more - less, 4000 * 1000)


class LargeRows(CliTest):
    def test_one_row_of_any_length_needs_no_more_memory(self):
        columns = 4 << 20
        source = write_gguf(self.path("row.gguf"), [("w.weight", (1, columns), 0, bytes(4 * columns))])
        self.ok("convert", source, "-o", self.path("o.gguf"), "--to", "tq2_0", "--memory-limit", "256KiB")
        tensor = self.json("inspect", self.path("o.gguf"))["tensors"][0]
        self.assertEqual((tensor["shape"], tensor["bytes"]), (f"1x{columns}", columns // 256 * 66))


if __name__ == "__main__":
    main()
