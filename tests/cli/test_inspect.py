"""inspect, verify and synth."""

import hashlib
import json
import struct
import time

from support import (
    GIB, MIB, CliTest, Gguf, Safetensors, digest, f16_bytes, f32_bytes, gguf_header, lobit, main, tree, weights,
    write_gguf, write_safetensors,
)  # fmt: skip


class Inspect(CliTest):
    def test_fields_of_a_gguf_file_are_true(self):
        source = self.small_model()
        report, truth = self.json("inspect", source), Gguf(source)
        self.assertEqual((report["format"], report["version"], report["alignment"]), ("GGUF", "3", 32))
        self.assertEqual(report["parts"], [{"name": "small.gguf", "bytes": source.stat().st_size}])
        self.assertEqual([t["name"] for t in report["tensors"]], list(truth.tensors))
        for tensor in report["tensors"]:
            shape, _, offset, data = truth.tensors[tensor["name"]]
            self.assertEqual(tensor["shape"], "x".join(map(str, shape)))
            self.assertEqual((tensor["offset"], tensor["bytes"], tensor["part"]), (offset, len(data), 0))
            self.assertEqual((tensor["elements"], tensor["encoding"]), (len(data) // 4, "f32"))
        found = {t["name"]: (t["role"], t["layer"]) for t in report["tensors"]}
        self.assertEqual(found["blk.0.attn_q.weight"], ("attention", 0))
        self.assertEqual(found["output.weight"], ("output", -1))
        self.assertEqual(found["blk.0.ffn_gate_inp.weight"], ("router", 0))
        total = sum(len(t[3]) for t in truth.tensors.values())
        self.assertEqual(report["totals"], {"tensors": 8, "elements": total // 4, "bytes": total, "bits_per_weight": 32})
        self.assertEqual(
            report["metadata"],
            [
                {"key": "general.architecture", "type": "string", "text": "llama"},
                {"key": "general.name", "type": "string", "text": "small"},
            ],
        )

    def test_fields_of_a_safetensors_file_are_true(self):
        data = f16_bytes(weights(96))
        tensors = [("a", "F16", (3, 32), data), ("b", "I64", (2,), bytes(16)), ("c", "BOOL", (3,), b"\0\1\1")]
        source = write_safetensors(self.path("m.safetensors"), tensors, {"format": "pt"})
        report = self.json("inspect", source)
        self.assertEqual((report["format"], report["alignment"]), ("safetensors", 0))
        start = source.stat().st_size - 192 - 16 - 3
        rows = [(t["name"], t["encoding"], t["shape"], t["offset"], t["bytes"]) for t in report["tensors"]]
        self.assertEqual(
            rows,
            [("a", "f16", "3x32", start, 192), ("b", "raw_i64", "2", start + 192, 16), ("c", "bool", "3", start + 208, 3)],
        )
        self.assertEqual(report["metadata"][0]["text"], "pt")

    def test_every_dtype_of_safetensors_is_listed(self):
        bits = {
            "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
            "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64,
            "I64": 64, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
        }  # fmt: skip
        tensors = [(name, name, (2, 4), bytes(8 * b // 8)) for name, b in bits.items()]
        report = self.json("inspect", write_safetensors(self.path("m.safetensors"), tensors))
        self.assertEqual({t["name"]: t["bytes"] for t in report["tensors"]}, {n: b for n, b in bits.items()})

    def test_text_groups_by_layer_and_lists_tensors_when_asked(self):
        source = self.synth("m.gguf", "4MiB")
        layers = self.json("synth", "-o", self.path("n.gguf"), "--size", "4MiB")["layers"]
        out = self.ok("inspect", source).out
        self.assertIn("m.gguf: GGUF 3", out)
        for layer in range(layers):
            self.assertRegex(out, rf"layer {layer} +9 tensors")
        self.assertNotIn("blk.0.attn_q.weight", out)
        self.assertIn("general.architecture", out)
        self.assertIn("blk.0.attn_q.weight", self.ok("inspect", source, "--tensors").out)

    def test_statistics(self):
        values = [0.5, -2.0, 0.0, float("nan"), 4.0, float("inf"), 0.0, -0.5] + [0.0] * 24
        source = write_gguf(self.path("m.gguf"), [("w", (1, 32), 0, f32_bytes(values)), ("i", (2,), 26, bytes(8))])
        tensors = {t["name"]: t for t in self.json("inspect", source, "--stats")["tensors"]}
        stats = tensors["w"]["statistics"]
        self.assertEqual((stats["min"], stats["max"]), (-2.0, 4.0))
        self.assertEqual((stats["zeros"], stats["nans"], stats["infinities"]), (26, 1, 1))
        self.assertAlmostEqual(stats["mean"], 2.0 / 30, places=15)
        self.assertAlmostEqual(stats["standard_deviation"], (20.5 / 30 - (2 / 30) ** 2) ** 0.5, places=15)
        self.assertNotIn("statistics", tensors["i"])
        self.assertNotIn("statistics", self.json("inspect", source)["tensors"][0])
        self.assertRegex(self.ok("inspect", source, "--stats").out, r"w\b.*-2\b.*4\b")

    def test_a_split_file_is_one_model(self):
        source = self.synth("m.gguf", "2MiB")
        self.ok("convert", source, "-o", self.path("s.gguf"), "--keep", ".", "--split-max-size", "500KB")
        parts = sorted(self.folder.glob("s-*.gguf"))
        report = self.json("inspect", parts[0])
        self.assertEqual(report["parts"], [{"name": p.name, "bytes": p.stat().st_size} for p in parts])
        for tensor in report["tensors"]:
            offset = Gguf(parts[tensor["part"]]).tensors[tensor["name"]][2]
            self.assertEqual(tensor["offset"], offset)
        self.assertNotIn("split.no", {m["key"] for m in report["metadata"]})
        self.assertIn(f"{len(parts)} files", self.ok("inspect", parts[0]).out)

    def sparse(self, name, header, size):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(header)
            file.truncate(size)
        return path

    def test_headers_of_huge_files_are_read_at_once(self):
        rows, tensors = 1 << 20, []
        for i in range(40):  # 40 x 4 GiB
            tensors.append((f"blk.{i}.ffn_up.weight", (rows, 2048), 1, None))
        header = gguf_header(tensors)
        gguf = self.sparse("huge.gguf", header, len(header) + 40 * 4 * GIB)
        table = {
            f"t{i}": {"dtype": "F16", "shape": [rows, 2048], "data_offsets": [i * 4 * GIB, (i + 1) * 4 * GIB]}
            for i in range(40)
        }
        text = json.dumps(table).encode()
        safetensors = self.sparse("huge.safetensors", struct.pack("<Q", len(text)) + text, 8 + len(text) + 160 * GIB)
        for path in (gguf, safetensors):
            start = time.monotonic()
            report = self.json("inspect", path)
            self.assertLess(time.monotonic() - start, 2)
            self.assertEqual(report["totals"]["bytes"], 160 * GIB)
            self.assertEqual(report["tensors"][-1]["bytes"], 4 * GIB)
            dry = self.json("convert", path, "-o", self.path("o.safetensors"), "--to", "tq2_0", "--dry-run")
            self.assertEqual(dry["totals"]["bytes_out"], 40 * rows * 2048 // 256 * 66)

    def test_what_it_shows_of_quantized_safetensors_is_the_true_shape(self):
        self.ok("convert", self.small_model(), "-o", self.path("o.safetensors"), "--to", "q4_0")
        tensors = {t["name"]: t for t in self.json("inspect", self.path("o.safetensors"))["tensors"]}
        tensor = tensors["blk.0.attn_q.weight"]
        self.assertEqual((tensor["encoding"], tensor["shape"], tensor["elements"]), ("q4_0", "4x256", 1024))
        self.assertEqual(tensor["bytes"], 1024 // 32 * 18)


class Verify(CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.small_model("a.gguf")

    def status(self, *args, code):
        report = self.json("verify", *args, code=code)
        return report, {t["name"]: t for t in report["tensors"]}

    def changed(self, name, change):
        """A copy of the model with one F32 of a tensor changed."""
        shape, _, offset, data = Gguf(self.a).tensors[name]
        whole = bytearray(self.a.read_bytes())
        values = list(struct.unpack(f"<{len(data) // 4}f", data))
        change(values)
        whole[offset : offset + len(data)] = f32_bytes(values)
        self.path("b.gguf").write_bytes(whole)
        return self.path("b.gguf")

    def test_equal_models(self):
        self.path("b.gguf").write_bytes(self.a.read_bytes())
        report, _ = self.status(self.a, self.path("b.gguf"), code=0)
        self.assertTrue(report["equal"])
        self.assertEqual(report["totals"], {"same": 8, "differs": 0, "only_first": 0, "only_second": 0})
        self.assertIn("Equal: every value of 8 tensors", self.ok("verify", self.a, self.path("b.gguf")).out)

    def test_equal_values_in_another_encoding_or_format_are_equal(self):
        # The weights fit F16 and BF16.
        for args in (("o.gguf", "f16"), ("o.safetensors", "bf16"), ("folder", "f16")):
            self.ok("convert", self.a, "-o", self.path(args[0]), "--to", args[1], "--pure")
            report, tensors = self.status(self.a, self.path(args[0]), code=0)
            self.assertTrue(report["equal"])
            self.assertEqual(tensors["blk.0.attn_q.weight"]["encoding_second"], args[1])

    def test_one_value_decides_and_tolerances_admit_it(self):
        name = "blk.0.ffn_down.weight"

        def change(values):
            values[1000] += 0.25

        b = self.changed(name, change)
        report, tensors = self.status(self.a, b, code=1)
        self.assertFalse(report["equal"])
        self.assertEqual([n for n, t in tensors.items() if t["status"] != "same"], [name])
        signal = sum(v * v for v in weights(1536, 6))
        nmse = 0.0625 / signal
        self.assertEqual(tensors[name]["max_abs_error"], 0.25)
        self.assertAlmostEqual(tensors[name]["nmse"] / nmse, 1, places=12)
        self.ok("verify", self.a, b, "--max-abs", "0.25")
        self.status(self.a, b, "--max-abs", "0.2499", code=1)
        self.ok("verify", self.a, b, "--nmse", nmse * 1.0001)
        self.status(self.a, b, "--nmse", nmse * 0.9999, code=1)
        self.status(self.a, b, "--nmse", 1, "--max-abs", 0.1, code=1)  # both must hold
        self.fails(2, "--nmse", "verify", self.a, b, "--nmse", "-1")
        text = lobit("verify", self.a, b)
        self.assertIn(name, text.out)
        self.assertIn("Not equal: 7 tensors the same, 1 different", text.out)
        self.assertNotIn("blk.0.attn_q.bias", text.out)
        self.assertIn("blk.0.attn_q.bias", lobit("verify", self.a, b, "--tensors").out)

    def test_nan_equals_nan_and_nothing_else(self):
        def nan(values):
            values[3] = float("nan")

        def infinite(values):
            values[3] = float("inf")

        b = self.changed("blk.0.attn_q.bias", nan)
        self.status(self.a, b, "--nmse", "10", "--max-abs", "10", code=1)
        b.rename(self.path("c.gguf"))
        self.ok("verify", self.path("c.gguf"), self.path("c.gguf"))
        b = self.changed("blk.0.attn_q.bias", infinite)
        self.status(self.path("c.gguf"), b, "--nmse", "10", code=1)
        self.ok("verify", b, b)
        # The same Inf, and NaN, in another encoding is the same value.
        self.ok("convert", self.path("c.gguf"), "-o", self.path("n.safetensors"), "--rule", "bias=bf16")
        self.ok("verify", self.path("c.gguf"), self.path("n.safetensors"))
        self.ok("convert", b, "-o", self.path("h.safetensors"), "--rule", "bias=f16")
        self.ok("verify", b, self.path("h.safetensors"))

    def test_missing_tensors_and_other_shapes(self):
        data = f32_bytes(weights(64))
        a = write_gguf(self.path("x.gguf"), [("both", (2, 32), 0, data), ("a", (2, 32), 0, data), ("s", (2, 32), 0, data)])
        b = write_gguf(self.path("y.gguf"), [("s", (32, 2), 0, data), ("both", (2, 32), 0, data), ("b", (2, 32), 0, data)])
        report, tensors = self.status(a, b, "--nmse", "10", code=1)
        self.assertEqual({n: t["status"] for n, t in tensors.items()}, {
            "both": "same", "a": "only in first", "b": "only in second", "s": "differs",
        })  # fmt: skip
        self.assertIn("shapes 2x32 and 32x2", tensors["s"]["note"])
        self.assertEqual(report["totals"], {"same": 1, "differs": 1, "only_first": 1, "only_second": 1})

    def test_hashes_are_of_the_stored_bytes(self):
        report, tensors = self.status(self.a, self.a, code=0)
        for tensor in tensors.values():
            self.assertRegex(tensor["hash_first"], r"^[0-9a-f]{16}$")
            self.assertEqual(tensor["hash_first"], tensor["hash_second"])
        self.assertEqual(len({t["hash_first"] for t in tensors.values()}), 8)
        zero = write_gguf(self.path("z.gguf"), [("z", (1,), 0, bytes(4))])
        _, tensors = self.status(zero, zero, code=0)
        self.assertEqual(tensors["z"]["hash_first"], XXH3_OF_FOUR_ZEROS)

        def change(values):
            values[0] += 1

        _, tensors = self.status(self.a, self.changed("output.weight", change), code=1)
        self.assertNotEqual(tensors["output.weight"]["hash_first"], tensors["output.weight"]["hash_second"])

    def test_hashes_do_not_depend_on_threads_or_limit(self):
        source = self.synth("m.gguf", "8MiB")
        self.ok("convert", source, "-o", self.path("o.gguf"), "--to", "q4_0")
        runs = [("--threads", 1), ("--threads", 5), ("--memory-limit", "20MiB")]
        reports = [self.json("verify", source, self.path("o.gguf"), *args, code=1) for args in runs]
        self.assertEqual(reports[0], reports[1])
        self.assertEqual(reports[0], reports[2])

    def test_undecodable_tensors_are_compared_by_their_bytes(self):
        blocks = bytes(range(66))
        a = write_gguf(self.path("x.gguf"), [("w", (1, 256), 16, blocks)])
        b = write_gguf(self.path("y.gguf"), [("w", (1, 256), 16, blocks[::-1])])
        self.ok("verify", a, a)
        _, tensors = self.status(a, b, "--nmse", "100", code=1)
        self.assertIn("cannot be decoded", tensors["w"]["note"])


# XXH3-64 of four zero bytes, by xxHash itself.
XXH3_OF_FOUR_ZEROS = "48b2c92616fc193d"


class Synth(CliTest):
    def test_the_size_is_met_from_below_within_a_percent(self):
        for size in (1 * MIB, int(1.3 * MIB), 2 * MIB, 3 * MIB, 5 * MIB, 8 * MIB, 17 * MIB, 40 * MIB, 99 * MIB, 300 * MIB):
            for suffix, dtype in (("gguf", "f16"), ("safetensors", "f32"), ("gguf", "bf16"), ("safetensors", "f16")):
                if (size > 40 * MIB and (suffix, dtype) != ("gguf", "f16")) or (size < 2 * MIB and dtype == "f32"):
                    continue
                out = self.path("s." + suffix)
                report = self.json("synth", "-o", out, "--size", size, "--dtype", dtype, "--overwrite")
                found = out.stat().st_size
                self.assertEqual(report["bytes"], found)
                self.assertLessEqual(found, size, (size, dtype))
                self.assertGreaterEqual(found, 0.99 * size, (size, dtype))
                out.unlink()

    def test_threads_do_not_matter_and_the_seed_does(self):
        for suffix, dtype in (("gguf", "f16"), ("gguf", "f32"), ("safetensors", "bf16")):
            hashes = {
                (threads, seed): digest(
                    self.synth(f"s.{suffix}", "5MiB", "--dtype", dtype, "--threads", threads, "--seed", seed, "--overwrite")
                )
                for threads in (1, 2, 5) for seed in (1, 2)
            }  # fmt: skip
            for seed in (1, 2):
                self.assertEqual(len({h for (_, s), h in hashes.items() if s == seed}), 1)
            self.assertNotEqual(hashes[1, 1], hashes[1, 2])
        plain = digest(self.synth("d.gguf", "5MiB"))
        self.assertEqual(plain, digest(self.synth("e.gguf", "5MiB", "--seed", "1", "--dtype", "f16")))

    def test_the_bytes_are_the_same_on_every_machine(self):
        path = self.synth("s.gguf", "1MiB", "--seed", "7")
        data = b"".join(t[3] for t in Gguf(path).tensors.values())
        self.assertEqual(hashlib.sha256(data).hexdigest(), GOLDEN_WEIGHTS)

    def test_both_formats_hold_the_same_values(self):
        gguf = Gguf(self.synth("s.gguf", "1MiB")).tensors
        other = Safetensors(self.synth("s.safetensors", "1MiB")).tensors
        self.assertEqual(gguf["blk.0.attn_q.weight"][3], other["model.layers.0.self_attn.q_proj.weight"][2])
        self.assertEqual(gguf["output_norm.weight"][3], other["model.norm.weight"][2])

    def test_what_it_makes_is_a_model(self):
        found = Gguf(self.synth("s.gguf", "4MiB"))
        self.assertEqual(found.metadata["general.architecture"], ("string", struct.pack("<Q", 5) + b"llama"))
        layers, width = found.u32("llama.block_count"), found.u32("llama.embedding_length")
        self.assertEqual(len(found.tensors), 9 * layers + 3)
        self.assertEqual(found.tensors["token_embd.weight"][0], (found.u32("llama.vocab_size"), width))
        self.assertEqual({shape[-1] % 256 for shape, *_ in found.tensors.values()}, {0})
        for encoding in ("tq1_0", "q1_0"):
            report = self.json("convert", self.path("s.gguf"), "-o", self.path(encoding + ".gguf"), "--to", encoding)
            self.assertEqual(report["totals"]["fallbacks"], 0)

    def test_a_size_that_is_too_small_is_refused_with_the_least(self):
        for dtype in ("f16", "f32"):
            args = ("synth", "-o", self.path("s.gguf"), "--dtype", dtype)
            least = self.json(*args, "--size", "100KiB", code=2)["error"]["detail"]["required"]
            self.assertLess(least, 2 * MIB)
            self.fails(2, "at least", *args, "--size", least - 1)
            self.ok(*args, "--size", least, "--overwrite")
            self.assertLessEqual(self.path("s.gguf").stat().st_size, least)

    def test_names_and_dtypes_that_it_cannot_make(self):
        before = tree(self.folder)
        self.fails(2, ".gguf or .safetensors", "synth", "-o", self.path("s.bin"), "--size", "1MiB")
        self.fails(2, "--dtype", "synth", "-o", self.path("s.gguf"), "--size", "1MiB", "--dtype", "q8_0")
        self.fails(2, "--size", "synth", "-o", self.path("s.gguf"))
        self.assertEqual(tree(self.folder), before)


# SHA-256 of the tensors' bytes that `synth --size 1MiB --seed 7` makes, in file order.
GOLDEN_WEIGHTS = "dca68653a2d41f1aae89f48ab41873a8d8cd6645e2dab404f707c6c305847684"


if __name__ == "__main__":
    main()
