"""Files and folders in and out: metadata, splits, shards, companions, names, the same bytes however it runs."""

import json
import shlex
import struct

from support import (
    KIB, CliTest, Gguf, Safetensors, digest, f16_bytes, f32_bytes, gguf_value, main, tree, weights, write_gguf,
    write_safetensors,
)  # fmt: skip

ALL_TYPES = [
    ("general.architecture", "string", "llama"),
    ("a.u8", "u8", 255), ("a.i8", "i8", -128), ("a.u16", "u16", 65535), ("a.i16", "i16", -32768),
    ("a.u32", "u32", 4294967295), ("a.i32", "i32", -2147483648), ("a.f32", "f32", 0.1), ("a.bool", "bool", True),
    ("a.string", "string", "ein \"Wort\" \\ \n \u00e4\u4e16\U0001f600\0 Ende"),
    ("a.u64", "u64", 2**64 - 1), ("a.i64", "i64", -(2**63)), ("a.f64", "f64", 1 / 3),
    ("a.tiny", "f32", 1e-45), ("a.zero", "f64", -0.0), ("a.big", "f32", 3.4028234663852886e38),
    ("arrays.u8", "array", ("u8", [0, 1, 255])), ("arrays.f32", "array", ("f32", [0.1, -2.5, 1e-40])),
    ("arrays.bool", "array", ("bool", [True, False])), ("arrays.i64", "array", ("i64", [-(2**63), 5])),
    ("arrays.f64", "array", ("f64", [1 / 3])), ("arrays.none", "array", ("u32", [])),
    ("arrays.string", "array", ("string", ["", "a", "\u2581the", "\x01"])),
]  # fmt: skip
OWN_KEYS = {"lobit.version", "lobit.encoding", "lobit.method", "general.file_type", "general.quantization_version"}


def raw_metadata(metadata):
    return {key: (kind, gguf_value(kind, value)) for key, kind, value in metadata}


def without(metadata, keys):
    return {k: v for k, v in metadata.items() if k not in keys}


class MetadataTest(CliTest):
    def model(self, alignment=32, metadata=ALL_TYPES):
        tensors = [("blk.0.ffn_up.weight", (3, 96), 0, f32_bytes(weights(288))), ("v", (5,), 0, f32_bytes(weights(5)))]
        if alignment != 32:
            metadata = [*metadata, ("general.alignment", "u32", alignment)]
        return write_gguf(self.path("m.gguf"), tensors, metadata, alignment)

    def test_gguf_to_gguf_keeps_every_type_bit_for_bit_and_in_order(self):
        self.ok("convert", self.model(), "-o", self.path("out.gguf"), "--to", "q8_0")
        written = Gguf(self.path("out.gguf"))
        expected = raw_metadata(ALL_TYPES)
        self.assertEqual(without(written.metadata, OWN_KEYS), expected)
        self.assertEqual(list(written.metadata)[: len(expected)], list(expected))
        self.assertEqual(set(written.metadata) - set(expected), OWN_KEYS)
        self.assertEqual(written.version, 3)

    def test_general_file_type_and_quantization_version_are_set(self):
        metadata = [("general.file_type", "u32", 99), *ALL_TYPES]
        types = {
            "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "bf16": 32, "tq1_0": 36,
            "tq2_0": 37, "q1_0": 40, "q2_0": 41,
        }  # fmt: skip
        tensors = [("blk.0.ffn_up.weight", (3, 256), 0, f32_bytes(weights(768)))]
        source = write_gguf(self.path("m.gguf"), tensors, metadata)
        for encoding, number in types.items():
            self.ok("convert", source, "-o", self.path("out.gguf"), "--to", encoding, "--overwrite")
            written = Gguf(self.path("out.gguf"))
            self.assertEqual(written.u32("general.file_type"), number, encoding)
            self.assertEqual(list(written.metadata)[0], "general.file_type")  # where it stood
            quantized = encoding not in ("f32", "f16", "bf16")
            self.assertEqual("general.quantization_version" in written.metadata, quantized)
            if quantized:
                self.assertEqual(written.u32("general.quantization_version"), 2)

    def test_provenance_names_no_time_and_no_path(self):
        first, second = self.path("first.gguf"), self.path("second.gguf")
        self.ok("convert", self.model(), "-o", first, "--to", "q8_0")
        other = self.path("elsewhere")
        other.mkdir()
        self.path("m.gguf").rename(other / "renamed.gguf")
        self.ok("convert", other / "renamed.gguf", "-o", second, "--to", "q8_0")
        self.assertEqual(digest(first), digest(second))
        self.assertEqual(Gguf(first).metadata["lobit.encoding"], ("string", gguf_value("string", "q8_0")))
        self.assertEqual(Gguf(first).metadata["lobit.method"], ("string", gguf_value("string", "direct")))

    def test_gguf_to_safetensors_and_back_is_the_same(self):
        for alignment in (32, 64, 256):
            with self.subTest(alignment=alignment):
                source = self.model(alignment)
                middle, back = self.path("m.safetensors"), self.path("back.gguf")
                self.ok("convert", source, "-o", middle, "--keep", ".", "--overwrite")
                self.ok("convert", middle, "-o", back, "--keep", ".", "--overwrite")
                a, b = Gguf(source), Gguf(back)
                self.assertEqual(without(b.metadata, OWN_KEYS), without(a.metadata, OWN_KEYS))
                for name, (shape, number, _, data) in a.tensors.items():
                    self.assertEqual((b.tensors[name][0], b.tensors[name][1], b.tensors[name][3]), (shape, number, data))
                self.ok("verify", source, back)

    def test_quantized_tensors_come_back_from_safetensors(self):
        source = self.synth("m.gguf")
        for encoding in ("q8_0", "tq2_0", "q5_1"):
            direct, middle, back = self.path("d.gguf"), self.path("m.safetensors"), self.path("b.gguf")
            self.ok("convert", source, "-o", direct, "--to", encoding, "--overwrite")
            self.ok("convert", source, "-o", middle, "--to", encoding, "--overwrite")
            self.ok("convert", middle, "-o", back, "--to", encoding, "--keep", "token_embd|output.weight", "--overwrite")
            self.assertEqual(Gguf(direct).metadata, Gguf(back).metadata)
            a, b = Gguf(direct).tensors, Gguf(back).tensors
            self.assertEqual({n: t[:2] + t[3:] for n, t in a.items()}, {n: t[:2] + t[3:] for n, t in b.items()})

    def test_metadata_that_json_cannot_hold_is_refused_by_key(self):
        for key, kind, value in [("bad.nan", "f32", float("nan")), ("bad.text", "string", b"\xff\xfe")]:
            source = self.model(metadata=[*ALL_TYPES, (key, kind, value)])
            self.fails(1, key, "convert", source, "-o", self.path("o.safetensors"), "--to", "f16")
            self.ok("convert", source, "-o", self.path("o.gguf"), "--to", "f16", "--overwrite")
            written = Gguf(self.path("o.gguf")).metadata[key]
            self.assertEqual(written, (kind, gguf_value(kind, value)))

    def test_safetensors_metadata_is_carried_over(self):
        tensors = [("w.weight", "F16", (2, 32), f16_bytes(weights(64)))]
        source = write_safetensors(self.path("m.safetensors"), tensors, {"format": "pt", "k\u00e4y": "v\n\u4e16"})
        self.ok("convert", source, "-o", self.path("o.safetensors"), "--to", "q8_0")
        found = Safetensors(self.path("o.safetensors")).metadata
        self.assertEqual((found["format"], found["k\u00e4y"]), ("pt", "v\n\u4e16"))
        self.ok("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0", "--raw-names")
        self.assertEqual(Gguf(self.path("o.gguf")).metadata["format"], ("string", gguf_value("string", "pt")))

    def test_version_2_is_read_and_3_is_written(self):
        source = self.model()
        data = bytearray(source.read_bytes())
        data[4] = 2
        old = self.path("old.gguf")
        old.write_bytes(data)
        self.ok("convert", old, "-o", self.path("o2.gguf"), "--to", "q8_0")
        self.ok("convert", source, "-o", self.path("o3.gguf"), "--to", "q8_0")
        self.assertEqual(digest(self.path("o2.gguf")), digest(self.path("o3.gguf")))


class SameBytes(CliTest):
    def test_threads_limits_and_sync_change_nothing(self):
        for suffix in ("gguf", "safetensors"):
            source = self.synth("m." + suffix, "12MiB")
            hashes = set()
            for args in [
                ("--threads", 1), ("--threads", 2), ("--threads", 5), ("--memory-limit", "512KiB"),
                ("--memory-limit", "3MiB", "--threads", 5), ("--sync",), ("--verify",),
                ("--report", self.path("r.html")),
            ]:  # fmt: skip
                out = self.path("out." + suffix)
                self.ok("convert", source, "-o", out, "--to", "tq2_0", "--overwrite", *args)
                hashes.add(digest(out))
            self.assertEqual(len(hashes), 1, suffix)

    def test_a_file_may_replace_itself(self):
        source = self.synth("m.gguf")
        self.ok("convert", source, "-o", self.path("expected.gguf"), "--to", "q4_0")
        self.ok("convert", source, "-o", source, "--to", "q4_0", "--overwrite")
        self.assertEqual(digest(source), digest(self.path("expected.gguf")))

    def test_the_suffix_picks_the_format_and_content_the_reader(self):
        source = self.synth("m.gguf")
        source.rename(self.path("m.bin"))
        self.ok("convert", self.path("m.bin"), "-o", self.path("o.safetensors"), "--to", "f16")
        self.assertEqual(self.path("o.safetensors").read_bytes()[8:9], b"{")
        for name in ("o.bin", "o.pt"):
            self.fails(2, [".gguf or .safetensors", name], "convert", self.path("m.bin"), "-o", self.path(name), "--to", "f16")

    def test_odd_tensors_go_both_ways(self):
        shapes = {"scalar": (), "one": (1,), "v": (33,), "m.weight": (5, 7), "four": (2, 3, 4, 5), "empty": (0, 8)}
        data = {n: f32_bytes(weights(_count(s), i)) for i, (n, s) in enumerate(shapes.items())}
        source = write_safetensors(self.path("m.safetensors"), [(n, "F32", s, data[n]) for n, s in shapes.items()])
        self.ok("convert", source, "-o", self.path("f16.safetensors"), "--to", "f16")
        self.ok("convert", self.path("f16.safetensors"), "-o", self.path("f32.safetensors"), "--to", "f32")
        found = Safetensors(self.path("f32.safetensors")).tensors
        self.assertEqual(found, {n: ("F32", s, data[n]) for n, s in shapes.items()})
        self.fails(
            2, "empty", "convert", source, "-o", self.path("o.gguf"), "--to", "f16", "--raw-names"
        )  # GGUF has no tensors without elements


def _count(shape):
    count = 1
    for extent in shape:
        count *= extent
    return count


class SplitGguf(CliTest):
    def setUp(self):
        super().setUp()
        self.source = self.synth("m.gguf", "2MiB")
        self.ok("convert", self.source, "-o", self.path("whole.gguf"), "--to", "q8_0")

    def split(self, size="300KB", name="s.gguf"):
        self.ok("convert", self.source, "-o", self.path(name), "--to", "q8_0", "--split-max-size", size)
        return sorted(self.folder.glob(name[:-5] + "-*-of-*.gguf"))

    def test_parts_are_named_numbered_and_bounded(self):
        parts = self.split()
        count = len(parts)
        self.assertGreater(count, 2)
        whole = Gguf(self.path("whole.gguf"))
        names = []
        for i, path in enumerate(parts):
            self.assertEqual(path.name, f"s-{i + 1:05}-of-{count:05}.gguf")
            part = Gguf(path)
            self.assertEqual(part.metadata["split.no"], ("u16", struct.pack("<H", i)))
            self.assertEqual(part.metadata["split.count"], ("u16", struct.pack("<H", count)))
            self.assertEqual(part.metadata["split.tensors.count"], ("i32", struct.pack("<i", len(whole.tensors))))
            names += part.tensors
            size = sum(len(t[3]) for t in part.tensors.values())
            self.assertTrue(size <= 300_000 or len(part.tensors) == 1, size)
            if i > 0:
                self.assertLessEqual(set(part.metadata), {"split.no", "split.count", "split.tensors.count"})
        self.assertEqual(names, list(whole.tensors))
        first = Gguf(parts[0]).metadata
        self.assertEqual(without(first, {"split.no", "split.count", "split.tensors.count"}), whole.metadata)

    def test_parts_read_as_one_and_join_to_the_same_bytes(self):
        parts = self.split()
        whole = self.path("whole.gguf")
        self.ok("verify", whole, parts[0])
        self.ok("convert", parts[0], "-o", self.path("joined.gguf"), "--to", "q8_0")
        self.assertEqual(digest(self.path("joined.gguf")), digest(whole))
        self.ok("convert", parts[0], "-o", self.path("t.gguf"), "--to", "q8_0", "--split-max-size", "300KB")
        again = sorted(self.folder.glob("t-*.gguf"))
        self.assertEqual([digest(p) for p in again], [digest(p) for p in parts])

    def test_a_split_file_may_replace_itself(self):
        parts = self.split()
        args = ("-o", self.path("s.gguf"), "--to", "q4_0", "--split-max-size", "300KB", "--overwrite")
        self.ok("convert", parts[0], "-o", self.path("expected.gguf"), "--to", "q4_0")
        self.ok("convert", parts[0], *args)
        first = sorted(self.folder.glob("s-00001-of-*.gguf"))[0]
        self.ok("verify", self.path("expected.gguf"), first)

    def test_a_limit_that_holds_everything_makes_one_file(self):
        self.assertEqual(self.split("1GiB", "one.gguf"), [])
        self.assertEqual(digest(self.path("one.gguf")), digest(self.path("whole.gguf")))

    def test_a_later_part_alone_and_a_missing_part_are_errors(self):
        parts = self.split()
        self.fails(2, ["first part", parts[0].name], "inspect", parts[1])
        parts[1].unlink()
        self.fails(1, parts[1].name, "convert", parts[0], "-o", self.path("x.gguf"), "--to", "f16")
        self.assertFalse(self.path("x.gguf").exists())

    def test_a_single_safetensors_file_cannot_be_split(self):
        self.fails(
            2, ["cannot be split", "folder"],
            "convert", self.source, "-o", self.path("x.safetensors"), "--to", "f16", "--split-max-size", "1MiB",
        )  # fmt: skip

    def test_alignment_holds_in_every_part(self):
        tensors = [(f"t{i}", (3, 96), 0, f32_bytes(weights(288, i))) for i in range(5)]
        source = write_gguf(self.path("a.gguf"), tensors, [("general.alignment", "u32", 128)], 128)
        self.ok("convert", source, "-o", self.path("b.gguf"), "--to", "q8_0", "--split-max-size", "700")
        parts = sorted(self.folder.glob("b-*.gguf"))
        self.assertEqual(len(parts), 3)
        for part in parts:
            self.assertEqual(Gguf(part).alignment, 128)


class Folders(CliTest):
    def setUp(self):
        super().setUp()
        self.hf = self.path("hf")
        self.hf.mkdir()
        names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(6)]
        self.data = {n: f16_bytes(weights(64 * 256, i)) for i, n in enumerate(names)}
        tensors = [(n, "F16", (64, 256), d) for n, d in self.data.items()]
        write_safetensors(self.hf / "model-00001-of-00002.safetensors", tensors[:3], {"format": "pt"})
        write_safetensors(self.hf / "model-00002-of-00002.safetensors", tensors[3:], {"format": "pt"})
        where = {n: f"model-0000{1 + (i > 2)}-of-00002.safetensors" for i, n in enumerate(names)}
        index = {"metadata": {"total_size": 6 * 64 * 256 * 2}, "weight_map": where}
        (self.hf / "model.safetensors.index.json").write_text(json.dumps(index))
        self.companions = {
            "config.json": '{"model_type": "llama"}', "tokenizer.json": "{}", "tokenizer.model": "\0\1binary",
            "tokenizer_config.json": "{}", "generation_config.json": "{}", "LICENSE": "MIT", "README.md": "# m",
        }  # fmt: skip
        for name, text in self.companions.items():
            (self.hf / name).write_text(text)
        for name in ("pytorch_model.bin", "consolidated.pth", "other.gguf", "pytorch_model.bin.index.json", ".hidden"):
            (self.hf / name).write_text("not to be copied")
        (self.hf / "1_Pooling" / "deeper").mkdir(parents=True)
        (self.hf / "1_Pooling" / "config.json").write_text("{}")
        (self.hf / "1_Pooling" / "model.safetensors").write_text("not to be copied")
        (self.hf / "1_Pooling" / "deeper" / "config.json").write_text("not to be copied")

    def test_folder_to_folder_copies_what_belongs_to_the_model(self):
        out = self.path("out")
        self.ok("convert", self.hf, "-o", out, "--to", "bf16")
        self.assertEqual({p.name for p in out.iterdir()}, {*self.companions, "1_Pooling", "model.safetensors"})
        self.assertEqual([p.name for p in (out / "1_Pooling").iterdir()], ["config.json"])
        for name, text in self.companions.items():
            self.assertEqual((out / name).read_text(), text)
        self.assertEqual(list(Safetensors(out / "model.safetensors").tensors), list(self.data))
        self.ok("verify", self.hf, out, "--nmse", "1e-4")

    def test_other_models_in_the_output_folder_stay(self):
        out = self.path("out")
        out.mkdir()
        (out / "llama-00001-of-00002.safetensors").write_text("another's")
        run = self.fails(2, "llama-00001-of-00002.safetensors", "convert", self.hf, "-o", out, "--to", "bf16", "--overwrite")
        self.assertIn("another model's", run.err)
        self.assertEqual([p.name for p in out.iterdir()], ["llama-00001-of-00002.safetensors"])
        self.ok("convert", self.hf, "-o", out, "--to", "bf16", "--split-max-size", "40KB")
        self.assertEqual((out / "llama-00001-of-00002.safetensors").read_text(), "another's")
        self.ok("verify", self.hf, out, "--nmse", "1e-4")

    def test_mapped_numbers_lie_at_multiples_of_their_width(self):
        tensors = [("a", "F16", (1, 32), f16_bytes(weights(32))), ("n", "F32", (3,), f32_bytes(weights(3))),
                   ("b", "F16", (1, 33), f16_bytes(weights(33)))]  # fmt: skip
        source = write_safetensors(self.path("odd.safetensors"), tensors)
        self.ok("convert", source, "-o", self.path("o.safetensors"), "--to", "q8_0", "--verify")
        report = self.json("inspect", self.path("o.safetensors"))
        self.assertEqual([(t["name"], t["encoding"]) for t in report["tensors"]], [("n", "f32"), ("b", "f16"), ("a", "q8_0")])
        self.assertEqual([t["offset"] % 4 for t in report["tensors"]][0], 0)

    def test_a_name_with_a_dot_and_a_slash_is_a_folder(self):
        self.ok("convert", self.hf, "-o", f"{self.path('Llama-3.2-1B')}/", "--to", "bf16", "--verify")
        self.assertTrue((self.path("Llama-3.2-1B") / "model.safetensors").exists())
        self.fails(2, "Llama-3.3/", "convert", self.hf, "-o", self.path("Llama-3.3"), "--to", "bf16")

    def test_shards_have_an_index_that_is_right(self):
        out = self.path("out/")
        self.ok("convert", self.hf, "-o", f"{out}/", "--to", "q8_0", "--split-max-size", "40KB")
        index = json.loads((out / "model.safetensors.index.json").read_text())
        shards = sorted(p.name for p in out.glob("*.safetensors"))
        self.assertEqual(shards, [f"model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)])
        where = {n: s for s in shards for n in Safetensors(out / s).tensors}
        self.assertEqual(index["weight_map"], where)
        self.assertEqual(index["metadata"]["total_size"], 6 * 64 * 256 // 32 * 34)
        self.ok("convert", out, "-o", self.path("joined.safetensors"), "--to", "q8_0")
        self.ok("verify", out, self.path("joined.safetensors"))
        self.ok("convert", self.hf, "-o", self.path("direct.safetensors"), "--to", "q8_0")
        self.assertEqual(digest(self.path("joined.safetensors")), digest(self.path("direct.safetensors")))

    def test_an_index_that_no_longer_holds_goes_with_overwrite_only(self):
        out = self.path("out")
        self.ok("convert", self.hf, "-o", out, "--to", "q8_0", "--split-max-size", "40KB")
        before = tree(out)
        self.fails(2, "--overwrite", "convert", self.hf, "-o", out, "--to", "bf16")
        self.assertEqual(tree(out), before)
        self.ok("convert", self.hf, "-o", out, "--to", "bf16", "--overwrite")
        self.assertFalse((out / "model.safetensors.index.json").exists())
        # The folder is one model again: the shards of the old index would be read beside the new file.
        self.assertEqual(set(self.encodings(out).values()), {"bf16"})
        self.assertEqual([p.name for p in out.glob("*.safetensors")], ["model.safetensors"])

    def test_other_shards_replace_old_ones(self):
        out = self.path("out")
        self.ok("convert", self.hf, "-o", out, "--to", "bf16")
        self.ok("convert", self.hf, "-o", out, "--to", "q8_0", "--split-max-size", "40KB", "--overwrite")
        self.assertEqual(set(self.encodings(out).values()), {"q8_0"})
        # Other programs look for model.safetensors first, so the old one must not stay.
        self.assertFalse((out / "model.safetensors").exists())
        self.ok("convert", self.hf, "-o", out, "--to", "bf16", "--split-max-size", "70KB", "--overwrite")
        self.assertEqual(set(self.encodings(out).values()), {"bf16"})
        shards = {p.name for p in out.glob("*.safetensors")}
        self.assertEqual(shards, set(json.loads((out / "model.safetensors.index.json").read_text())["weight_map"].values()))

    def test_a_folder_cannot_replace_itself(self):
        before = tree(self.folder)
        link = self.path("link")
        link.symlink_to(self.hf)
        shard = self.hf / "model-00001-of-00002.safetensors"
        for source, target in ((self.hf, self.hf), (self.hf, f"{self.hf}/"), (self.hf, link), (shard, self.hf)):
            self.fails(2, "name another", "convert", source, "-o", target, "--to", "q8_0", "--overwrite")
        self.ok("convert", shard.name, "-o", "part.safetensors", "--to", "q8_0", cwd=self.hf)
        (self.hf / "part.safetensors").unlink()
        link.unlink()
        self.assertEqual(tree(self.folder), before)

    def test_folder_to_gguf_is_refused_with_the_reason(self):
        run = self.fails(1, ["--raw-names", "tokenizer"], "convert", self.hf, "-o", self.path("o.gguf"), "--to", "q8_0")
        self.assertIn("names", run.err)
        self.assertFalse(self.path("o.gguf").exists())
        self.ok("convert", self.hf, "-o", self.path("o.gguf"), "--to", "q8_0", "--raw-names")
        written = Gguf(self.path("o.gguf"))
        self.assertEqual(list(written.tensors), list(self.data))
        self.ok("verify", self.hf, self.path("o.gguf"), "--nmse", "1e-4")

    def test_gguf_to_folder_has_weights_alone(self):
        source = self.synth("m.gguf")
        self.ok("convert", source, "-o", self.path("out"), "--to", "f16")
        self.assertEqual([p.name for p in self.path("out").iterdir()], ["model.safetensors"])
        self.ok("verify", source, self.path("out"))

    def test_a_shard_that_the_index_names_must_be_there(self):
        (self.hf / "model-00002-of-00002.safetensors").unlink()
        self.fails(1, "model-00002-of-00002.safetensors", "convert", self.hf, "-o", self.path("out"), "--to", "bf16")
        self.assertFalse(self.path("out").exists())

    def test_an_empty_folder_is_no_model(self):
        self.path("none").mkdir()
        self.fails(1, "no model in this folder", "convert", self.path("none"), "-o", self.path("out"), "--to", "bf16")


class Reports(CliTest):
    def test_verify_and_report_give_errors_and_worst_tensors(self):
        source = self.synth("m.gguf")
        out = self.ok("convert", source, "-o", self.path("o.gguf"), "--to", "q4_0", "--verify").out
        for word in ("SQNR", "cosine", "Lowest SQNR", "bits/weight"):
            self.assertIn(word, out)
        plain = self.json("convert", source, "-o", self.path("p.gguf"), "--to", "q4_0")
        self.assertNotIn("sqnr_db", plain["totals"])
        measured = self.json("convert", source, "-o", self.path("v.gguf"), "--to", "q4_0", "--verify")
        self.assertGreater(measured["totals"]["sqnr_db"], 15)
        self.assertLess(measured["totals"]["sqnr_db"], 30)

    def test_totals_are_the_sums(self):
        source = self.synth("m.gguf")
        report = self.json("convert", source, "-o", self.path("o.gguf"), "--to", "q4_0")
        totals = report["totals"]
        self.assertEqual(totals["file_bytes_in"], source.stat().st_size)
        self.assertEqual(totals["file_bytes_out"], self.path("o.gguf").stat().st_size)
        self.assertEqual(totals["elements"], sum(t["elements"] for t in report["tensors"]))
        self.assertAlmostEqual(totals["bits_per_weight_out"], 8 * totals["bytes_out"] / totals["elements"], places=9)
        self.assertEqual(totals["tensors"], len(report["tensors"]))
        copied = sum(t["from"] == t["to"] for t in report["tensors"])
        self.assertEqual(totals["converted"], totals["tensors"] - copied)

    def test_the_command_of_a_report_does_the_same_again(self):
        source = self.synth("my model.gguf")
        args = ("--rule", "attn_q|it's=f16", "--keep", "token", "--saturate", "--pure", "--threads", "2")
        page = ("--report", self.path("r.html"))
        report = self.json("convert", source, "-o", self.path("a.gguf"), "--rule", "q=q8_0", *args[2:], *page)
        program, *words = shlex.split(report["command"])
        self.assertEqual(program, "lobit")
        before = digest(self.path("a.gguf"))
        self.path("a.gguf").unlink()
        self.ok(*words)
        self.assertEqual(digest(self.path("a.gguf")), before)
        dry = self.json("convert", source, "-o", self.path("b.gguf"), "--to", "q8_0", *args, "--dry-run")
        self.assertEqual(shlex.split(dry["command"])[4:], [str(self.path("b.gguf")), "--to", "q8_0",
            "--rule", "attn_q|it's=f16", "--keep", "token", "--pure", "--saturate", "--threads", "2", "--dry-run"])

    def test_the_kept_size_is_the_split_size(self):
        source = self.synth("m.gguf")
        report = self.json("convert", source, "-o", self.path("s.gguf"), "--to", "q8_0", "--split-max-size", 100 * KIB)
        size = sum(p.stat().st_size for p in self.folder.glob("s-*.gguf"))
        self.assertEqual(report["totals"]["file_bytes_out"], size)


if __name__ == "__main__":
    main()
