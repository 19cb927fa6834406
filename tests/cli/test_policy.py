"""Which encoding every tensor gets: --to, --rule, --keep, --pure, the defaults, fallbacks, and --dry-run."""

import struct

from support import ENCODINGS, CliTest, Gguf, Safetensors, f16_bytes, f32_bytes, main, tree, weights, write_gguf
from support import write_safetensors


class Defaults(CliTest):
    def test_vectors_norms_and_routers_become_f32_and_the_vocabulary_q8_0(self):
        source = self.small_model()
        self.ok("convert", source, "-o", self.path("out.gguf"), "--to", "q4_0")
        self.assertEqual(
            self.encodings(self.path("out.gguf")),
            {
                "token_embd.weight": "q8_0",
                "blk.0.attn_norm.weight": "f32",
                "blk.0.attn_q.weight": "q4_0",
                "blk.0.attn_q.bias": "f32",
                "blk.0.ffn_gate_inp.weight": "f32",
                "blk.0.ffn_down.weight": "q4_0",
                "blk.0.ffn_norm.weight": "f32",  # a norm with two dimensions
                "output.weight": "q8_0",
            },
        )

    def test_the_vocabulary_follows_an_encoding_of_8_bits_or_more(self):
        source = self.small_model()
        for encoding in ("q8_0", "f16", "bf16"):
            out = self.path(encoding + ".gguf")
            self.ok("convert", source, "-o", out, "--to", encoding)
            found = self.encodings(out)
            self.assertEqual((found["token_embd.weight"], found["output.weight"]), (encoding, encoding))

    def test_hugging_face_names_have_the_same_defaults(self):
        names = {
            "model.embed_tokens.weight": "q8_0",
            "lm_head.weight": "q8_0",
            "model.layers.0.input_layernorm.weight": "f32",
            "model.layers.0.block_sparse_moe.gate.weight": "f32",
            "model.layers.0.self_attn.q_proj.weight": "tq2_0",
            "model.layers.0.self_attn.q_proj.bias": "f32",
        }
        shapes = {name: (256,) if "norm" in name or "bias" in name else (2, 256) for name in names}
        data = {name: f16_bytes(weights(shape[0] * (256 if len(shape) > 1 else 1))) for name, shape in shapes.items()}
        source = write_safetensors(self.path("m.safetensors"), [(n, "F16", shapes[n], data[n]) for n in names])
        self.ok("convert", source, "-o", self.path("out.safetensors"), "--to", "bitnet158")
        self.assertEqual(self.encodings(self.path("out.safetensors")), names)

    def test_pure_gives_every_matrix_the_encoding(self):
        self.ok("convert", self.small_model(), "-o", self.path("out.gguf"), "--to", "tq2_0", "--pure")
        found = self.encodings(self.path("out.gguf"))
        vectors = {"blk.0.attn_norm.weight", "blk.0.attn_q.bias"}
        self.assertEqual({n for n, e in found.items() if e == "f32"}, vectors)
        self.assertEqual({e for n, e in found.items() if n not in vectors}, {"tq2_0"})

    def test_numbers_that_are_no_weights_are_copied(self):
        numbers = struct.pack("<8i", *range(8))
        doubles = struct.pack("<4d", 1.5, -2.5, 1e300, 0)
        tensors = [
            ("ids", (2, 4), 26, numbers),
            ("big", (2, 2), 28, doubles),
            ("w.weight", (2, 32), 0, f32_bytes(weights(64))),
        ]
        out = self.path("out.gguf")
        self.ok("convert", write_gguf(self.path("m.gguf"), tensors), "-o", out, "--to", "q8_0", "--pure")
        written = Gguf(out).tensors
        self.assertEqual((written["ids"][1], written["ids"][3]), (26, numbers))
        self.assertEqual((written["big"][1], written["big"][3]), (28, doubles))
        self.assertEqual(written["w.weight"][1], 8)

    def test_names_of_encodings_have_no_case_and_dtypes_mean_their_default(self):
        source = self.small_model()
        for name, encoding in {
            "Q4_0": "q4_0", "TQ2_0": "tq2_0", "BF16": "bf16", "i8": "q8_0", "I4": "q4_0", "i2": "q2_0",
            "i1": "q1_0", "BitNet158": "tq2_0",
        }.items():  # fmt: skip
            out = self.path(name + ".gguf")
            self.ok("convert", source, "-o", out, "--to", name)
            self.assertEqual(self.encodings(out)["blk.0.attn_q.weight"], encoding, name)

    def test_without_anything_to_do_it_says_so(self):
        self.fails(2, "expected an encoding or a rule", "convert", self.small_model(), "-o", self.path("out.gguf"))

    def test_encodings_that_are_only_read_or_only_copied_are_no_targets(self):
        source = self.small_model()
        for name in ("q4_k", "q6_k", "iq2_xxs", "raw_i8", "f64"):
            with self.subTest(name):
                self.fails(1, name, "convert", source, "-o", self.path("out.gguf"), "--to", name)
                self.assertFalse(self.path("out.gguf").exists())


class Fallbacks(CliTest):
    # Columns, and what tq1_0, tq2_0, q1_0, q2_0, q4_0, q8_0 become there.
    CHAIN = {
        256: {"tq1_0": "tq1_0", "tq2_0": "tq2_0", "q1_0": "q1_0", "q2_0": "q2_0", "q4_0": "q4_0"},
        128: {"tq1_0": "q2_0", "tq2_0": "q2_0", "q1_0": "q1_0", "q2_0": "q2_0", "q4_0": "q4_0"},
        192: {"tq1_0": "q2_0", "tq2_0": "q2_0", "q1_0": "q2_0", "q2_0": "q2_0", "q4_0": "q4_0"},
        96: {"tq1_0": "q4_0", "tq2_0": "q4_0", "q1_0": "q4_0", "q2_0": "q4_0", "q4_0": "q4_0", "q8_0": "q8_0"},
        33: {"tq1_0": "f16", "tq2_0": "f16", "q1_0": "f16", "q2_0": "f16", "q4_0": "f16", "q8_0": "f16", "q5_1": "f16"},
    }

    def setUp(self):
        super().setUp()
        tensors = [(f"c{c}.weight", (2, c), 0, f32_bytes(weights(2 * c))) for c in self.CHAIN]
        self.source = write_gguf(self.path("m.gguf"), tensors)

    def test_the_chain_for_rows_that_do_not_divide(self):
        for encoding in ("tq1_0", "tq2_0", "q1_0", "q2_0", "q4_0", "q8_0", "q5_1"):
            out = self.path(encoding + ".gguf")
            self.ok("convert", self.source, "-o", out, "--to", encoding)
            found = self.encodings(out)
            for columns, row in self.CHAIN.items():
                if encoding in row:
                    self.assertEqual(found[f"c{columns}.weight"], row[encoding], (columns, encoding))

    def test_the_dry_run_lists_each_fallback_with_its_reason(self):
        report = self.json("convert", self.source, "-o", self.path("out.gguf"), "--to", "tq1_0", "--dry-run")
        fallen = {t["name"]: t["note"] for t in report["tensors"] if t["fallback"]}
        self.assertEqual(set(fallen), {"c128.weight", "c192.weight", "c96.weight", "c33.weight"})
        self.assertIn("rows of 33 do not divide by tq1_0's 256", fallen["c33.weight"])
        self.assertEqual(report["totals"]["fallbacks"], 4)
        text = self.ok("convert", self.source, "-o", self.path("out.gguf"), "--to", "tq1_0", "--dry-run").out
        self.assertIn("Fallbacks", text)
        self.assertIn("rows of 192 do not divide", text)

    def test_the_vocabulary_falls_back_too(self):
        source = write_gguf(self.path("v.gguf"), [("token_embd.weight", (2, 33), 0, f32_bytes(weights(66)))])
        self.ok("convert", source, "-o", self.path("out.gguf"), "--to", "q4_0")
        self.assertEqual(self.encodings(self.path("out.gguf")), {"token_embd.weight": "f16"})


class Rules(CliTest):
    def convert(self, *args):
        out = self.path("out.gguf")
        self.ok("convert", self.small_model(), "-o", out, "--overwrite", *args)
        return self.encodings(out)

    def test_the_first_rule_that_matches_wins(self):
        found = self.convert("--to", "q4_0", "--rule", "ffn_down=q8_0", "--rule", "ffn|attn_q.weight=f16")
        self.assertEqual(found["blk.0.ffn_down.weight"], "q8_0")
        self.assertEqual(found["blk.0.attn_q.weight"], "f16")
        found = self.convert("--to", "q4_0", "--rule", "ffn|attn_q.weight=f16", "--rule", "ffn_down=q8_0")
        self.assertEqual(found["blk.0.ffn_down.weight"], "f16")

    def test_rules_beat_defaults_and_pure(self):
        for flags in ((), ("--pure",)):
            found = self.convert("--to", "q4_0", "--rule", "attn_norm=f16", "--rule", "^output=q5_1", *flags)
            self.assertEqual(found["blk.0.attn_norm.weight"], "f16", flags)
            self.assertEqual(found["output.weight"], "q5_1", flags)

    def test_patterns_are_searched_and_anchors_bind(self):
        found = self.convert("--rule", "put=q8_0")
        self.assertEqual(found["output.weight"], "q8_0")
        found = self.convert("--rule", r"^blk\.0\.attn_q\.weight$=q8_0")
        self.assertEqual([n for n, e in found.items() if e == "q8_0"], ["blk.0.attn_q.weight"])
        self.fails(
            2, "matches no tensor", "convert", self.small_model(), "-o", self.path("x.gguf"), "--rule", "^put=q8_0"
        )

    def test_perl_syntax_works(self):
        found = self.convert("--rule", r"blk\.\d+\.(?!ffn).*_q\.weight=q8_0")
        self.assertEqual([n for n, e in found.items() if e == "q8_0"], ["blk.0.attn_q.weight"])

    def test_without_to_the_others_are_kept(self):
        found = self.convert("--rule", "attn_q.weight=q8_0")
        self.assertEqual(found.pop("blk.0.attn_q.weight"), "q8_0")
        self.assertEqual(set(found.values()), {"f32"})

    def test_the_last_equals_sign_splits(self):
        tensors = [("a=b.weight", (2, 32), 0, f32_bytes(weights(64))), ("c.weight", (2, 32), 0, f32_bytes(weights(64)))]
        source = write_gguf(self.path("eq.gguf"), tensors)
        self.ok("convert", source, "-o", self.path("out.gguf"), "--rule", "a=b=q8_0")
        self.assertEqual(self.encodings(self.path("out.gguf")), {"a=b.weight": "q8_0", "c.weight": "f32"})

    def test_a_rule_that_matches_nothing_is_an_error(self):
        source = self.small_model()
        self.fails(
            2, ["nothing_like_it", "matches no tensor"],
            "convert", source, "-o", self.path("out.gguf"), "--to", "q8_0", "--rule", "nothing_like_it=f16",
        )  # fmt: skip
        self.assertFalse(self.path("out.gguf").exists())

    def test_a_rule_behind_another_matches_even_if_the_other_wins(self):
        found = self.convert("--rule", "attn_q=q8_0", "--rule", "attn_q.weight=f16")
        self.assertEqual(found["blk.0.attn_q.weight"], "q8_0")

    def test_a_rule_whose_encoding_does_not_divide_is_an_error(self):
        source = write_gguf(self.path("odd.gguf"), [("odd.weight", (2, 100), 0, f32_bytes(weights(200)))])
        self.fails(
            2, ["odd.weight", "rows of 100 do not divide by q4_0's 32"],
            "convert", source, "-o", self.path("out.gguf"), "--rule", "odd=q4_0",
        )  # fmt: skip
        self.assertFalse(self.path("out.gguf").exists())

    def test_malformed_rules_and_patterns(self):
        source = self.small_model()
        for rule, says in {
            "attn_q": "expected REGEX=ENCODING",
            "=q8_0": "expected REGEX=ENCODING",
            "attn_q=zzzzzz": "'zzzzzz'",
            "attn_q=q8_O": "did you mean q8_0?",
            "attn_(q=q8_0": "attn_(q",
        }.items():
            with self.subTest(rule):
                self.fails(2, says, "convert", source, "-o", self.path("out.gguf"), "--rule", rule)

    def test_a_pattern_that_explodes_ends(self):
        source = write_gguf(self.path("a.gguf"), [("a" * 50 + "!", (1, 32), 0, f32_bytes(weights(32)))])
        run = self.fails(
            2, "(a+)+$", "convert", source, "-o", self.path("out.gguf"), "--rule", "(a+)+$=q8_0", timeout=20
        )
        self.assertIn("step", run.err)

    def test_the_log_says_how_many_tensors_each_rule_matched(self):
        args = ("--rule", "attn_q=f16", "--rule", "ffn_down=q8_0")
        run = self.ok("convert", self.small_model(), "-o", self.path("out.gguf"), *args)
        self.assertIn("'attn_q=f16': 2 tensors", run.err)
        self.assertRegex(run.err, r"'ffn_down=q8_0': 1 tensor\b")

    def test_keep_copies_what_it_finds_and_beats_rules(self):
        found = self.convert("--to", "q4_0", "--keep", "token_embd", "--keep", "ffn", "--rule", "ffn_down|attn_q.w=q8_0")
        self.assertEqual(found["token_embd.weight"], "f32")
        self.assertEqual(found["blk.0.ffn_down.weight"], "f32")
        self.assertEqual(found["blk.0.attn_q.weight"], "q8_0")

    def test_kept_bytes_are_the_sources(self):
        source = self.small_model()
        self.ok("convert", source, "-o", self.path("out.gguf"), "--to", "q4_0", "--keep", "attn_q")
        name = "blk.0.attn_q.weight"
        self.assertEqual(Gguf(self.path("out.gguf")).tensors[name][3], Gguf(source).tensors[name][3])

    def test_a_keep_that_matches_nothing_is_an_error(self):
        self.fails(
            2, ["keep 'absent'", "matches no tensor"],
            "convert", self.small_model(), "-o", self.path("out.gguf"), "--to", "q8_0", "--keep", "absent",
        )  # fmt: skip


class Undecodable(CliTest):
    def setUp(self):
        super().setUp()
        self.blocks = bytes(range(66)) * 2
        tensors = [
            ("blk.0.ffn_up.weight", (2, 256), 16, self.blocks),
            ("blk.0.ffn_down.weight", (2, 256), 0, f32_bytes(weights(512))),
        ]
        self.source = write_gguf(self.path("iq.gguf"), tensors)

    def test_a_tensor_that_cannot_be_decoded_is_refused_by_name(self):
        error = self.json("convert", self.source, "-o", self.path("out.gguf"), "--to", "q8_0", code=1)["error"]
        self.assertIn("blk.0.ffn_up.weight", error["message"])
        self.assertIn("iq2_xxs", error["message"])
        self.assertIn("--keep", error["message"])
        self.assertIn("unsupported", error["code"].lower())
        self.assertFalse(self.path("out.gguf").exists())

    def test_keep_copies_it(self):
        self.ok("convert", self.source, "-o", self.path("out.gguf"), "--to", "q8_0", "--keep", "ffn_up")
        written = Gguf(self.path("out.gguf")).tensors
        self.assertEqual(written["blk.0.ffn_up.weight"][1:4:2], (16, self.blocks))
        self.assertEqual(written["blk.0.ffn_down.weight"][1], 8)


class DryRun(CliTest):
    def test_it_writes_nothing_and_says_the_exact_sizes(self):
        source = self.small_model()
        folder = self.path("hf")
        folder.mkdir()
        data = f16_bytes(weights(4 * 256))
        write_safetensors(folder / "model.safetensors", [(f"t{i}.weight", "F16", (4, 256), data) for i in range(5)])
        (folder / "config.json").write_text("{}")
        for out, model, args in [
            ("a.gguf", source, ("--to", "tq2_0")),
            ("b.safetensors", source, ("--to", "q5_1", "--pure")),
            ("s.gguf", source, ("--to", "q8_0", "--split-max-size", "2KiB")),
            ("plain", folder, ("--to", "q4_1")),
            ("shards", folder, ("--to", "bf16", "--split-max-size", "4KiB")),
        ]:
            with self.subTest(out):
                before = tree(self.folder)
                dry = self.json("convert", model, "-o", self.path(out), "--dry-run", *args)
                self.assertEqual(tree(self.folder), before)
                self.assertFalse(self.path(out).exists())
                real = self.json("convert", model, "-o", self.path(out), *args)
                weights_only = [p for p in set(tree(self.folder)) - set(before) if p.endswith((".gguf", "safetensors"))]
                self.assertTrue(weights_only)
                size = sum(self.path(p).stat().st_size for p in weights_only)
                self.assertEqual(dry["totals"]["file_bytes_out"], size)
                for key in ("tensors", "totals"):
                    self.assertEqual(dry[key], real[key], key)

    def test_the_bytes_of_each_tensor_are_true(self):
        source = self.small_model()
        for encoding, (values, size, number) in ENCODINGS.items():
            dry = self.json("convert", source, "-o", self.path("out.gguf"), "--to", encoding, "--dry-run", "--pure")
            sizes = {t["name"]: (t["elements"], t["bytes_out"], t["to"]) for t in dry["tensors"]}
            self.assertEqual(sizes["blk.0.ffn_down.weight"], (1536, 1536 // values * size, encoding))
            self.assertEqual(dry["totals"]["bytes_out"], sum(bytes_ for _, bytes_, _ in sizes.values()))

    def test_its_text_lists_every_tensor(self):
        text = self.ok("convert", self.small_model(), "-o", self.path("out.gguf"), "--to", "q4_0", "--dry-run").out
        for name in ("token_embd.weight", "blk.0.attn_q.bias", "blk.0.ffn_down.weight", "output.weight"):
            self.assertIn(name, text)

    def test_it_finds_the_errors_that_a_run_would(self):
        self.fails(
            2, "matches no tensor",
            "convert", self.small_model(), "-o", self.path("o.gguf"), "--to", "q8_0", "--rule", "x=f16", "--dry-run",
        )  # fmt: skip

    def test_safetensors_output_holds_what_was_planned(self):
        source = self.small_model()
        self.ok("convert", source, "-o", self.path("o.safetensors"), "--to", "q4_0")
        written = Safetensors(self.path("o.safetensors"))
        self.assertEqual(written.tensors["blk.0.attn_q.weight"][:2], ("U8", (4, 256 // 32 * 18)))
        self.assertEqual(written.metadata["lobit.encoding.blk.0.attn_q.weight"], "q4_0")
        self.assertEqual(written.metadata["lobit.shape.blk.0.attn_q.weight"], "[4, 256]")
        self.assertEqual(written.metadata["lobit.format"], "1")
        self.assertEqual(written.tensors["blk.0.attn_norm.weight"][:2], ("F32", (256,)))


if __name__ == "__main__":
    main()
