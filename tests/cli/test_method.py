"""`lobit convert --method`: who gets which scales, what they cost, and that names of dtypes mean better ones."""

import random

from support import CliTest, Gguf, bf16_bytes, f16_bytes, f32_bytes, gguf_value, main, write_gguf

SEARCHED = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q2_0", "tq2_0", "tq1_0")
MATRIX, WIDE, VOCABULARY = "blk.0.attn_q.weight", "blk.0.ffn_up.weight", "token_embd.weight"


def bell(count, seed):
    """Bell-shaped values of 8 bits, which F32, F16 and BF16 hold alike."""
    rng = random.Random(seed)
    return [max(-255, min(255, round(rng.gauss(0, 60)))) / 1024 for _ in range(count)]


class Method(CliTest):
    def model(self, name="m.gguf", number=0, as_bytes=f32_bytes):
        shapes = {VOCABULARY: (8, 256), MATRIX: (32, 256), WIDE: (16, 512)}
        tensors = [(n, s, number, as_bytes(bell(s[0] * s[1], i))) for i, (n, s) in enumerate(shapes.items())]
        return write_gguf(self.path(name), tensors, [("general.architecture", "string", "llama")])

    def converted(self, source, *args):
        out = self.path("out.gguf")
        self.ok("convert", source, "-o", out, "--overwrite", *args)
        return out

    def bytes_of(self, source, *args):
        return {name: (number, data) for name, (_, number, _, data) in Gguf(self.converted(source, *args)).tensors.items()}

    def errors(self, source, *args):
        report = self.json("convert", source, "-o", self.path("out.gguf"), "--overwrite", "--verify", *args)
        return {t["name"]: t["nmse"] for t in report["tensors"]}

    def test_a_dearer_method_errs_less(self):
        source = self.model()
        for encoding in SEARCHED:
            with self.subTest(encoding):
                direct, scaled, exact = (
                    self.errors(source, "--to", encoding, "--pure", "--method", method)
                    for method in ("direct", "scaled", "exact")
                )
                for name in (MATRIX, WIDE):
                    self.assertLess(scaled[name], 0.95 * direct[name])
                    self.assertLessEqual(exact[name], scaled[name])
                    self.assertGreater(exact[name], 0.8 * scaled[name])

    def test_names_of_dtypes_mean_scaled_and_ggmls_names_direct(self):
        source = self.model()
        for dtype, encoding in {"i8": "q8_0", "i4": "q4_0", "I2": "q2_0", "i1": "q1_0", "BitNet158": "tq2_0"}.items():
            with self.subTest(dtype):
                direct = self.bytes_of(source, "--to", encoding)
                scaled = self.bytes_of(source, "--to", encoding, "--method", "scaled")
                self.assertEqual(self.bytes_of(source, "--to", encoding, "--method", "direct"), direct)
                self.assertEqual(self.bytes_of(source, "--to", dtype), direct if dtype == "i8" else scaled)
                self.assertEqual(self.bytes_of(source, "--to", dtype, "--method", "direct"), direct)
                # The scale of one bit has no choice.
                self.assertEqual(scaled[MATRIX] == direct[MATRIX], dtype == "i1")

    def test_rules_follow_their_names_unless_a_method_is_given(self):
        source = self.model()
        direct, scaled = self.bytes_of(source, "--to", "q4_0"), self.bytes_of(source, "--to", "i4")
        mixed = self.bytes_of(source, "--to", "q4_0", "--rule", "ffn=i4")
        self.assertEqual((mixed[MATRIX], mixed[WIDE]), (direct[MATRIX], scaled[WIDE]))
        mixed = self.bytes_of(source, "--to", "i4", "--rule", "ffn=q4_0")
        self.assertEqual((mixed[MATRIX], mixed[WIDE]), (scaled[MATRIX], direct[WIDE]))
        self.assertEqual(self.bytes_of(source, "--to", "i4", "--rule", "ffn=q4_0", "--method", "scaled"), scaled)

    def test_bytes_depend_on_neither_threads_nor_limit_nor_the_sources_floats(self):
        sources = [self.model(), self.model("f16.gguf", 1, f16_bytes), self.model("bf16.gguf", 30, bf16_bytes)]
        for method in ("scaled", "exact"):
            found = []
            for source in sources:
                for extra in ((), ("--threads", 1), ("--threads", 3, "--memory-limit", "300KiB")):
                    found.append(self.bytes_of(source, "--to", "q4_0", "--method", method, *extra))
            self.assertTrue(all(f == found[0] for f in found), method)

    def test_files_and_reports_say_the_method(self):
        source = self.model()
        for args, said in (
            (("--to", "q4_0"), "direct"),
            (("--to", "i4"), "scaled"),
            (("--to", "q2_0", "--method", "exact"), "exact"),
            (("--to", "bitnet158", "--ternary", "absmean", "--pure"), "absmean"),
            (("--to", "f16", "--method", "exact"), ""),
        ):
            with self.subTest(args):
                report = self.json("convert", source, "-o", self.path("out.gguf"), "--overwrite", *args)
                self.assertEqual({t["method"] for t in report["tensors"]}, {said})
                self.assertEqual(
                    Gguf(self.path("out.gguf")).metadata["lobit.method"],
                    ("string", gguf_value("string", said or "direct")),
                )
        text = self.ok("convert", source, "-o", self.path("a.gguf"), "--to", "q4_0", "--rule", "ffn=i4").out
        self.assertRegex(text, r"method +direct: 2 tensors, scaled: 1 tensor\n")
        report = self.json("convert", source, "-o", self.path("b.gguf"), "--to", "q4_0", "--method", "exact")
        self.assertIn("--method exact", report["command"])

    def test_methods_that_cannot_be_are_refused_before_anything_is_written(self):
        source = self.model()
        args = ("--to", "tq2_0", "--ternary", "absmean", "--method", "scaled")
        self.fails(2, ["--method scaled", "--ternary absmean"], "convert", source, "-o", self.path("no.gguf"), *args)
        self.fails(2, "--method", "convert", source, "-o", self.path("no.gguf"), "--to", "q4_0", "--method", "best")

    def test_what_cannot_be_stored_fails_as_it_does_directly(self):
        values = bell(512, 9)
        values[300] = float("nan")
        source = write_gguf(self.path("nan.gguf"), [("a.weight", (2, 256), 0, f32_bytes(values))])
        for method in ("direct", "scaled", "exact"):
            args = ("-o", self.path(method + ".gguf"), "--to", "q4_0", "--method", method)
            self.fails(1, ["a.weight", "element 300"], "convert", source, *args)
            self.ok("convert", source, *args, "--saturate")

    def test_converting_exactly_what_was_converted_changes_nothing(self):
        for encoding in ("q4_0", "q5_1"):
            exactly = ("--overwrite", "--to", encoding, "--method", "exact", "--pure")
            first = self.converted(self.model(), *exactly)
            values = self.path("values.gguf")
            self.ok("convert", first, "-o", values, "--to", "f32", "--overwrite")
            report = self.json("convert", values, "-o", self.path("again.gguf"), *exactly, "--verify")
            self.assertEqual({t["nmse"] for t in report["tensors"]}, {0}, encoding)


if __name__ == "__main__":
    main()
