"""The values that conversions write, against numpy, ml_dtypes, gguf-py and the Python package safetensors."""

import itertools
import json

import gguf
import ml_dtypes
import numpy as np
import safetensors.numpy
from support import BLOCKS, ENCODINGS, MIB, CliTest, Gguf, Safetensors, digest, main, write_gguf, write_safetensors

GGUF_PY_KNOWS = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "tq1_0", "tq2_0")
SOURCES = {"f32": (np.float32, 0, "F32"), "f16": (np.float16, 1, "F16"), "bf16": (ml_dtypes.bfloat16, 30, "BF16")}
SHAPES = {"a": (3, 256), "b": (5, 512), "c": (1, 1024), "d": (7, 2, 256), "e": (2, 3, 1, 256), "f": (900, 256)}


def heavy_tailed(shape, seed):
    return (np.random.default_rng(seed).standard_t(4, shape) * 0.02).astype(np.float32)


def quantized(values, encoding):
    """The bytes that `encoding` has for F32 values, by code that is not lobit's."""
    if encoding in GGUF_PY_KNOWS:
        return gguf.quantize(values, gguf.GGMLQuantizationType[encoding.upper()]).tobytes()
    if encoding == "q1_0":  # scale: the mean magnitude, summed in order in F32; bit 1 is +d
        groups = values.reshape(-1, 128)
        total = np.zeros(len(groups), np.float32)
        for column in np.abs(groups).T:
            total = total + column
        scales = (total / np.float32(128)).astype(np.float16)
        codes = np.packbits(groups >= 0, axis=1, bitorder="little")
    else:  # q2_0: ternary codes + 1 by the largest magnitude, four to a byte
        groups = values.reshape(-1, 64)
        largest = np.abs(groups).max(axis=1)
        with np.errstate(divide="ignore"):
            inverse = np.where(largest > 0, np.float32(1) / largest, np.float32(0))
        scales = largest.astype(np.float16)
        scaled = (groups * inverse[:, None]).astype(np.float64)  # so that adding a half is exact
        ternary = (np.sign(scaled) * np.floor(np.abs(scaled) + 0.5) + 1).astype(np.uint8)
        ternary = ternary.reshape(-1, 16, 4)
        codes = ternary[..., 0] | ternary[..., 1] << 2 | ternary[..., 2] << 4 | ternary[..., 3] << 6
    return np.concatenate([scales[:, None].view(np.uint8), codes], axis=1).tobytes()


def decoded(data, encoding):
    """The F32 values of an encoding's bytes, by code that is not lobit's."""
    if encoding in GGUF_PY_KNOWS:
        kind = gguf.GGMLQuantizationType[encoding.upper()]
        dtype = {"f32": np.float32, "f16": np.float16}.get(encoding, np.uint8)
        return gguf.dequantize(np.frombuffer(data, dtype), kind).ravel().astype(np.float32)
    blocks = np.frombuffer(data, np.uint8).reshape(-1, 18)
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    if encoding == "q1_0":
        signs = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(np.float32) * 2 - 1
        return (signs * scales).ravel()
    codes = np.stack([blocks[:, 2:] >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1).reshape(len(blocks), 64)
    return ((codes.astype(np.float32) - 1) * scales).ravel()


class ValuesTest(CliTest):
    def gguf_of(self, name, arrays, source="f32"):
        dtype, number, _ = SOURCES[source]
        tensors = [(n, a.shape, number, a.astype(dtype).tobytes()) for n, a in arrays.items()]
        return write_gguf(self.path(name), tensors)

    def safetensors_of(self, name, arrays, source="f32"):
        dtype, _, header = SOURCES[source]
        tensors = [(n, header, a.shape, a.astype(dtype).tobytes()) for n, a in arrays.items()]
        return write_safetensors(self.path(name), tensors)


class Encodings(ValuesTest):
    def test_every_encoding_from_every_float_and_format_with_any_threads_and_limits(self):
        arrays = {n: heavy_tailed(s, i) for i, (n, s) in enumerate(SHAPES.items())}
        for source, (make, suffix) in itertools.product(
            SOURCES, [(self.gguf_of, "gguf"), (self.safetensors_of, "safetensors")]
        ):
            model = make(f"in.{suffix}", arrays, source)
            values = {n: a.astype(SOURCES[source][0]).astype(np.float32) for n, a in arrays.items()}
            for encoding in ENCODINGS:
                with self.subTest(source=source, suffix=suffix, encoding=encoding):
                    self.check_encoding(model, suffix, values, encoding)

    def check_encoding(self, model, suffix, values, encoding):
        extra = ("--raw-names",) if suffix == "safetensors" else ()
        out = self.path("out.gguf")
        hashes = set()
        runs = [(), ("--threads", 1), ("--threads", 2, "--memory-limit", "300KiB")]
        runs.append(("--threads", 5, "--memory-limit", "1MiB"))
        for args in runs:
            self.ok("convert", model, "-o", out, "--to", encoding, "--pure", "--overwrite", *extra, *args)
            hashes.add(digest(out))
        self.assertEqual(len(hashes), 1, "the bytes depend on threads or limit")
        written = Gguf(out).tensors
        for name, array in values.items():
            shape, number, _, data = written[name]
            self.assertEqual((shape, number), (array.shape, ENCODINGS[encoding][2]), name)
            self.assertEqual(data, quantized(array, encoding), name)
        self.check_verify(model, out, values, encoding)

    def check_verify(self, model, out, values, encoding):
        """The errors that verify reports are those of the bytes in the file, and its verdict follows them."""
        written = Gguf(out).tensors
        worst = 0.0
        for name, array in values.items():
            x, y = array.ravel().astype(np.float64), decoded(written[name][3], encoding).astype(np.float64)
            worst = max(worst, ((x - y) ** 2).sum() / (x**2).sum())
        if worst == 0:
            self.ok("verify", model, out)
            return
        self.ok("verify", model, out, "--nmse", worst * (1 + 1e-9))
        found = self.json("verify", model, out, "--nmse", worst * (1 - 1e-9), code=1)
        self.assertAlmostEqual(max(t.get("nmse", 0) for t in found["tensors"]) / worst, 1, places=9)

    def test_blocks_become_floats_and_other_blocks_as_gguf_py_decodes_them(self):
        array = heavy_tailed((33, 512), 3)
        q = gguf.GGMLQuantizationType
        for number in (q.Q8_0, q.Q4_0, q.Q4_1, q.Q5_0, q.Q5_1, q.TQ1_0, q.TQ2_0):
            blocks = gguf.quantize(array, number)
            decoded = gguf.dequantize(blocks, number)
            source = write_gguf(self.path("in.gguf"), [("w", array.shape, int(number), blocks.tobytes())])
            for encoding in ("f32", "f16", "bf16", "q8_0", "q4_1"):
                if encoding.upper() == number.name:
                    continue
                self.ok("convert", source, "-o", self.path("out.gguf"), "--to", encoding, "--pure", "--overwrite")
                found = Gguf(self.path("out.gguf")).tensors["w"][3]
                self.assertEqual(found, quantized(decoded, encoding), (number, encoding))

    def test_k_quants_are_read(self):
        rng = np.random.default_rng(4)
        q = gguf.GGMLQuantizationType
        for number, scales in {q.Q2_K: [80, 82], q.Q3_K: [108], q.Q4_K: [0, 2], q.Q5_K: [0, 2], q.Q6_K: [208]}.items():
            values, size = gguf.GGML_QUANT_SIZES[number]
            blocks = rng.integers(0, 256, (6, size), dtype=np.uint8)
            for at in scales:
                blocks[:, at + 1] &= 0xBF
            BLOCKS[int(number)] = (values, size)
            source = write_gguf(self.path("in.gguf"), [("w", (3, 512), int(number), blocks.tobytes())])
            self.ok("convert", source, "-o", self.path("out.gguf"), "--to", "f32", "--overwrite")
            found = Gguf(self.path("out.gguf")).tensors["w"][3]
            self.assertEqual(found, gguf.dequantize(blocks, number).astype(np.float32).tobytes(), number)

    def test_verify_measures_what_numpy_does(self):
        array = heavy_tailed((300, 1024), 5)  # more than a run of 262,144
        source = self.gguf_of("in.gguf", {"w": array})
        report = self.json("convert", source, "-o", self.path("out.gguf"), "--to", "q4_0", "--verify")
        decoded = gguf.dequantize(gguf.quantize(array, gguf.GGMLQuantizationType.Q4_0), gguf.GGMLQuantizationType.Q4_0)
        x, y = array.astype(np.float64), decoded.astype(np.float64)
        nmse = ((x - y) ** 2).sum() / (x**2).sum()
        for tensor in (report["tensors"][0], self.json("verify", source, self.path("out.gguf"), code=1)["tensors"][0]):
            self.assertAlmostEqual(tensor["nmse"] / nmse, 1, places=9)
            self.assertAlmostEqual(tensor["sqnr_db"], -10 * np.log10(nmse), places=8)
            cosine = (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())
            self.assertAlmostEqual(tensor["cosine"], cosine, places=10)
            self.assertAlmostEqual(tensor["max_abs_error"], np.abs(x - y).max(), places=7)


class NonFinite(ValuesTest):
    def setUp(self):
        super().setUp()
        self.out = self.path("out.gguf")

    def model(self, at, value, source="f32", shape=(70, 4096)):
        array = heavy_tailed(shape, 1)
        array.flat[at] = value
        return self.gguf_of("in.gguf", {"fine": heavy_tailed((2, 256), 2), "bad.weight": array}, source), array

    def test_a_value_beyond_f16_is_an_error_that_names_it(self):
        source, _ = self.model(200_001, 70000.0)
        for threads in (1, 2, 5):
            error = self.json("convert", source, "-o", self.out, "--to", "f16", "--threads", threads, code=1)["error"]
            self.assertIn("'bad.weight'", error["message"])
            self.assertIn("element 200001", error["message"])
            self.assertIn("70000", error["message"])
            self.assertEqual(error["detail"]["index"], 200_001)
            self.assertEqual((error["detail"]["from"], error["detail"]["to"]), ("f32", "f16"))
            self.assertFalse(self.out.exists())
        self.assert_no_leftovers()

    def test_inf_and_nan_pass_into_floats(self):
        for value in (np.inf, -np.inf, np.nan):
            source, _ = self.model(77, value)
            for encoding, dtype in (("f16", np.float16), ("bf16", ml_dtypes.bfloat16)):
                self.ok("convert", source, "-o", self.out, "--to", encoding, "--overwrite")
                found = np.frombuffer(Gguf(self.out).tensors["bad.weight"][3], dtype).astype(np.float32)
                np.testing.assert_equal(found[77], np.float32(value))

    def test_nan_inf_and_overflow_into_blocks_name_the_element(self):
        blocks = [e for e, (values, _, _) in ENCODINGS.items() if values > 1]
        for encoding, (value, source) in itertools.product(blocks, [(np.nan, "f32"), (-np.inf, "f16")]):
            model, _ = self.model(150_123, value, source)
            with self.subTest(encoding=encoding, value=value):
                run = self.fails(1, ["'bad.weight'", "element 150123"], "convert", model, "-o", self.out, "--to", encoding)
                self.assertIn("nan" if np.isnan(value) else "inf", run.err)
                self.assertFalse(self.out.exists())
        model, _ = self.model(99, 1e7)
        self.fails(1, ["'bad.weight'", "element 99"], "convert", model, "-o", self.out, "--to", "tq2_0")
        model, _ = self.model(99, -1e7)
        self.fails(1, ["'bad.weight'", "element 99"], "convert", model, "-o", self.out, "--to", "q8_0")
        self.assert_no_leftovers()

    def test_the_earliest_of_several_is_named(self):
        array = heavy_tailed((300, 4096), 1)
        array.flat[[30_000, 1_000_000]] = np.inf
        source = self.gguf_of("in.gguf", {"w": array})
        for _ in range(3):
            self.fails(1, "element 30000:", "convert", source, "-o", self.out, "--to", "q8_0", "--threads", 5)

    def saturated(self, array, encoding):
        source = self.gguf_of("in.gguf", {"w": array})
        hashes = set()
        for threads in (1, 2):
            report = self.json(
                "convert", source, "-o", self.out, "--to", encoding, "--saturate", "--pure", "--overwrite",
                "--threads", threads,
            )  # fmt: skip
            hashes.add(digest(self.out))
        self.assertEqual(len(hashes), 1)
        return Gguf(self.out).tensors["w"][3], report["tensors"][0]

    def test_saturate_stores_the_largest_float(self):
        array = heavy_tailed((2, 256), 1)
        array.flat[[0, 5, 9, 11]] = [70000, -1e30, np.inf, np.nan]
        data, tensor = self.saturated(array, "f16")
        found = np.frombuffer(data, np.float16).astype(np.float32)
        np.testing.assert_equal(found[[0, 5, 9, 11]], np.float32([65504, -65504, np.inf, np.nan]))
        np.testing.assert_equal(found[20:], array.ravel()[20:].astype(np.float16).astype(np.float32))
        self.assertIn("2 values saturated", tensor["note"])
        array = heavy_tailed((2, 256), 1)
        array.flat[3] = np.float32(3.4e38)  # rounds to Inf in BF16
        data, tensor = self.saturated(array, "bf16")
        self.assertEqual(np.frombuffer(data, np.uint16)[3], 0x7F7F)
        self.assertIn("1 values saturated", tensor["note"])

    def test_saturate_in_blocks_keeps_the_neighbours(self):
        array = heavy_tailed((2, 256), 1)
        largest = np.float32(0.75)
        array.flat[[1, 7, 8, 40]] = [np.nan, np.inf, -np.inf, largest]
        array.flat[10] = largest
        expected = array.copy()
        expected.flat[[1, 7, 8]] = [0, largest, -largest]
        for encoding in ("q8_0", "q4_0", "q5_1", "tq2_0", "q2_0", "q1_0"):
            data, tensor = self.saturated(array, encoding)
            self.assertEqual(data, quantized(expected, encoding), encoding)
            self.assertIn("1 blocks saturated", tensor["note"], encoding)

    def test_saturate_clips_what_no_scale_reaches(self):
        for encoding, limit in {"q8_0": 65504 * 127, "q4_0": 65504 * 8, "q5_0": 65504 * 16, "tq1_0": 65504}.items():
            array = heavy_tailed((1, 256), 1)
            array.flat[[3, 4]] = [3e30, -1e30]
            expected = array.copy()
            expected.flat[[3, 4]] = [limit, -limit]
            data, _ = self.saturated(array, encoding)
            self.assertEqual(data, quantized(expected, encoding), encoding)

    def test_groups_too_small_for_their_scale_become_zeros_and_are_counted(self):
        array = heavy_tailed((2, 256), 1)
        array[0, :32] = 1e-39
        source = self.gguf_of("in.gguf", {"w": array})
        report = self.json("convert", source, "-o", self.out, "--to", "q8_0")
        self.assertEqual(report["tensors"][0]["flushed_groups"], 1)
        self.assertEqual(report["totals"]["flushed_groups"], 1)
        self.assertEqual(set(Gguf(self.out).tensors["w"][3][2:34]), {0})


class Damaged(ValuesTest):
    def test_a_code_that_tq2_0_does_not_have_is_found_with_its_offset(self):
        array = heavy_tailed((600, 512), 1)
        blocks = bytearray(quantized(array, "tq2_0"))
        block = 777
        blocks[block * 66 + 13] |= 0b00110000
        source = write_gguf(self.path("in.gguf"), [("w.weight", array.shape, 35, bytes(blocks))])
        offset = Gguf(source).tensors["w.weight"][2] + block * 66
        for encoding in ("f32", "q8_0", "tq1_0"):
            error = self.json("convert", source, "-o", self.path("out.gguf"), "--to", encoding, code=1)["error"]
            self.assertIn("'w.weight'", error["message"])
            self.assertEqual((error["detail"]["offset"], error["detail"]["index"]), (offset, block), encoding)
            self.assertIn(str(offset), error["message"])
        self.assert_no_leftovers()


class AbsMean(ValuesTest):
    def decoded(self, path, name, encoding):
        data = np.frombuffer(Gguf(path).tensors[name][3], np.uint8)
        return gguf.dequantize(data, gguf.GGMLQuantizationType[encoding.upper()]).ravel()

    def scales(self, path, name, encoding):
        values, size, _ = ENCODINGS[encoding]
        return np.frombuffer(Gguf(path).tensors[name][3], np.uint8).reshape(-1, size)[:, -2:].copy().view(np.float16)

    def test_codes_and_scales_are_bitnets(self):
        arrays = {"a.weight": heavy_tailed((700, 512), 1), "b.weight": heavy_tailed((3, 256), 2) * 50}
        for encoding, source in itertools.product(("tq2_0", "tq1_0"), SOURCES):
            model = self.gguf_of("in.gguf", arrays, source)
            hashes = set()
            for extra in (["--threads", 1], ["--threads", 2], ["--threads", 5, "--memory-limit", "1MiB"]):
                out = self.path("out.gguf")
                self.ok("convert", model, "-o", out, "--to", encoding, "--ternary", "absmean", "--overwrite", *extra)
                hashes.add(digest(out))
            self.assertEqual(len(hashes), 1)
            for name, array in arrays.items():
                w = array.astype(SOURCES[source][0]).astype(np.float32).ravel()
                gamma = np.float32(np.abs(w.astype(np.float64)).mean())
                ratio = w / gamma
                codes = np.clip(np.rint(ratio), -1, 1)
                sure = np.abs(np.abs(ratio) - 0.5) > 1e-6  # the last bit of the mean may move the others
                self.assertGreater(sure.mean(), 0.999)
                found = self.decoded(self.path("out.gguf"), name, encoding)
                np.testing.assert_array_equal(np.sign(found)[sure], codes[sure])
                scales = self.scales(self.path("out.gguf"), name, encoding)
                used = scales[scales > 0]
                self.assertEqual(set(used.tolist()), {float(np.float16(gamma))})

    def test_halves_of_the_scale_round_to_zero(self):
        # |w|: 1 and 3 alternate, so gamma is 2 and 1/2 is met exactly; 3/2 becomes 1.
        w = np.tile(np.float32([1, -3, -1, 3]), 64).reshape(1, 256)
        model = self.gguf_of("in.gguf", {"w": w})
        self.ok("convert", model, "-o", self.path("out.gguf"), "--to", "tq2_0", "--ternary", "absmean")
        found = self.decoded(self.path("out.gguf"), "w", "tq2_0")
        np.testing.assert_array_equal(found, np.tile(np.float32([0, -2, 0, 2]), 64))

    def test_zeros_stay_zeros_and_non_finite_values_are_refused(self):
        model = self.gguf_of("in.gguf", {"w": np.zeros((2, 256), np.float32)})
        self.ok("convert", model, "-o", self.path("out.gguf"), "--to", "tq2_0", "--ternary", "absmean")
        np.testing.assert_array_equal(self.decoded(self.path("out.gguf"), "w", "tq2_0"), 0)
        bad = heavy_tailed((90, 4096), 1)
        bad.flat[270_000] = np.nan
        model = self.gguf_of("in.gguf", {"w": bad})
        args = ("convert", model, "-o", self.path("x.gguf"), "--to", "tq2_0", "--ternary", "absmean")
        self.fails(1, ["'w'", "element 270000"], *args)
        self.ok(*args, "--saturate")
        finite = bad[np.isfinite(bad)].astype(np.float64)
        self.assertIn(
            float(np.float16(np.abs(finite).mean())), self.scales(self.path("x.gguf"), "w", "tq2_0").ravel().tolist()
        )

    def test_other_encodings_do_not_change(self):
        model = self.gguf_of("in.gguf", {"a.weight": heavy_tailed((4, 256), 1)})
        outs = []
        for rule in ("direct", "absmean"):
            self.ok("convert", model, "-o", self.path(rule + ".gguf"), "--to", "q4_0", "--ternary", rule)
            outs.append(Gguf(self.path(rule + ".gguf")).tensors)
        self.assertEqual(outs[0], outs[1])


class OtherReaders(ValuesTest):
    def test_gguf_py_opens_what_is_written(self):
        source = self.synth("m.gguf", "2MiB")
        reader = gguf.GGUFReader(source)
        self.assertEqual(reader.fields["general.architecture"].contents(), "llama")
        for encoding in GGUF_PY_KNOWS:
            out = self.path(encoding + ".gguf")
            self.ok("convert", source, "-o", out, "--to", encoding)
            written = gguf.GGUFReader(out)
            self.assertEqual([t.name for t in written.tensors], [t.name for t in reader.tensors])
            for before, after in zip(reader.tensors, written.tensors):
                self.assertEqual(list(before.shape), list(after.shape))
            q = {t.name: t for t in written.tensors}["blk.0.attn_q.weight"]
            self.assertEqual(q.tensor_type.name.lower(), encoding)
            file_type = {
                "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "bf16": 32, "tq1_0": 36,
                "tq2_0": 37,
            }  # fmt: skip
            self.assertEqual(written.fields["general.file_type"].contents(), file_type[encoding])

    def test_inspect_agrees_with_gguf_py(self):
        source = self.synth("m.gguf", "2MiB")
        self.ok("convert", source, "-o", self.path("q.gguf"), "--to", "q5_0")
        for path in (source, self.path("q.gguf")):
            reader = gguf.GGUFReader(path)
            report = self.json("inspect", path)
            self.assertEqual(len(report["tensors"]), len(reader.tensors))
            for theirs, ours in zip(reader.tensors, report["tensors"]):
                self.assertEqual(ours["name"], theirs.name)
                self.assertEqual(ours["shape"], "x".join(str(n) for n in reversed(theirs.shape.tolist())))
                self.assertEqual(ours["offset"], int(theirs.data_offset))
                self.assertEqual(ours["bytes"], int(theirs.n_bytes))
                self.assertEqual(ours["elements"], int(theirs.n_elements))
                self.assertEqual(ours["encoding"], theirs.tensor_type.name.lower())
            keys = {k for k in reader.fields if not k.startswith("GGUF.")}
            self.assertEqual({m["key"] for m in report["metadata"]}, keys)

    def test_statistics_are_numpys(self):
        array = heavy_tailed((700, 512), 1)
        array.flat[[1, 2, 3, 4]] = [np.nan, np.inf, -np.inf, 0]
        array.flat[5] = -0.0
        only_nan = np.full((1, 32), np.nan, np.float32)
        for make, suffix in ((self.gguf_of, "gguf"), (self.safetensors_of, "safetensors")):
            model = make(f"m.{suffix}", {"w": array, "n": only_nan})
            reports = [self.json("inspect", model, "--stats", "--threads", n) for n in (1, 2, 5)]
            self.assertEqual(reports[0]["tensors"], reports[1]["tensors"])
            self.assertEqual(reports[0]["tensors"], reports[2]["tensors"])
            found = {t["name"]: t["statistics"] for t in reports[0]["tensors"]}
            finite = array[np.isfinite(array)].astype(np.float64)
            w = found["w"]
            self.assertEqual((w["zeros"], w["nans"], w["infinities"]), (2, 1, 2))
            self.assertEqual((w["min"], w["max"]), (finite.min(), finite.max()))
            self.assertAlmostEqual(w["mean"], finite.mean(), places=12)
            self.assertAlmostEqual(w["standard_deviation"], finite.std(), places=12)
            self.assertEqual(found["n"]["nans"], 32)
            self.assertIsNone(found["n"]["mean"])

    def test_statistics_of_blocks_are_those_of_the_decoded_values(self):
        array = heavy_tailed((40, 256), 1)
        q = gguf.GGMLQuantizationType.Q4_1
        blocks = gguf.quantize(array, q)
        model = write_gguf(self.path("m.gguf"), [("w", array.shape, int(q), blocks.tobytes())])
        found = self.json("inspect", model, "--stats")["tensors"][0]["statistics"]
        values = gguf.dequantize(blocks, q).astype(np.float64)
        self.assertEqual((found["min"], found["max"]), (values.min(), values.max()))
        self.assertAlmostEqual(found["mean"], values.mean(), places=12)

    def test_the_package_safetensors_loads_what_is_written(self):
        arrays = {n: heavy_tailed(s, i) for i, (n, s) in enumerate(SHAPES.items())}
        arrays |= {"v": heavy_tailed((33,), 9), "s": np.array(1.5, np.float32), "z": np.zeros((0, 4), np.float32)}
        model = self.path("in.safetensors")
        safetensors.numpy.save_file(arrays, model, metadata={"format": "pt", "note": "kept"})
        for encoding, dtype in (("f32", np.float32), ("f16", np.float16), ("bf16", ml_dtypes.bfloat16)):
            out = self.path(encoding + ".safetensors")
            self.ok("convert", model, "-o", out, "--to", encoding)
            found = safetensors.numpy.load_file(out)
            self.assertEqual(set(found), set(arrays))
            for name, array in arrays.items():
                expected = array.astype(dtype if array.ndim > 1 else np.float32)
                self.assertEqual(found[name].tobytes(), expected.tobytes(), (encoding, name))
                self.assertEqual(found[name].shape, array.shape)
            with safetensors.safe_open(out, "np") as file:
                self.assertEqual(file.metadata()["note"], "kept")

    def test_shards_load_in_the_package_and_name_each_tensor(self):
        folder = self.path("hf")
        folder.mkdir()
        arrays = {f"t{i}.weight": heavy_tailed((64, 256), i) for i in range(7)}
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
        self.ok("convert", folder, "-o", self.path("out"), "--to", "bf16", "--split-max-size", "70KB")
        index = json.loads((self.path("out") / "model.safetensors.index.json").read_text())
        self.assertEqual(set(index["weight_map"]), set(arrays))
        self.assertGreater(len(set(index["weight_map"].values())), 3)
        for name, file in index["weight_map"].items():
            loaded = safetensors.numpy.load_file(self.path("out") / file)
            self.assertEqual(loaded[name].tobytes(), arrays[name].astype(ml_dtypes.bfloat16).tobytes())
        self.assertEqual(index["metadata"]["total_size"], 7 * 64 * 256 * 2)

    def test_gguf_py_reads_the_parts_of_a_split_file(self):
        source = self.synth("m.gguf", "2MiB")
        whole = gguf.GGUFReader(source)
        self.ok("convert", source, "-o", self.path("s.gguf"), "--to", "q8_0", "--split-max-size", "300KB")
        parts = sorted(self.folder.glob("s-*.gguf"))
        self.assertGreater(len(parts), 2)
        names = []
        for i, part in enumerate(parts):
            self.assertEqual(part.name, f"s-{i + 1:05}-of-{len(parts):05}.gguf")
            reader = gguf.GGUFReader(part)
            names += [t.name for t in reader.tensors]
            fields = {k: reader.fields[k] for k in ("split.no", "split.count", "split.tensors.count")}
            kinds = {k: f.types[0].name for k, f in fields.items()}
            self.assertEqual(kinds, {"split.no": "UINT16", "split.count": "UINT16", "split.tensors.count": "INT32"})
            values = [f.contents() for f in fields.values()]
            self.assertEqual(values, [i, len(parts), len(whole.tensors)])
        self.assertEqual(names, [t.name for t in whole.tensors])


class Synth(ValuesTest):
    def test_weights_are_heavy_tailed_and_norms_are_near_one(self):
        source = self.synth("m.gguf", "4MiB", "--dtype", "f32")
        tensors = {t.name: t.data for t in gguf.GGUFReader(source).tensors}
        w = np.concatenate([t.ravel() for n, t in tensors.items() if "ffn" in n and "norm" not in n]).astype(np.float64)
        self.assertAlmostEqual(w.std(), 0.02, delta=0.0005)
        self.assertAlmostEqual(w.mean(), 0, delta=0.0002)
        kurtosis = ((w - w.mean()) ** 4).mean() / w.var() ** 2
        self.assertGreater(kurtosis, 6)  # 3 for a normal distribution
        norm = tensors["output_norm.weight"]
        self.assertAlmostEqual(float(norm.mean()), 1, delta=0.01)
        # F32 weights use all of their mantissa.
        self.assertGreater(np.count_nonzero(w.astype(np.float32) != w.astype(np.float16).astype(np.float32)), w.size / 2)

    def test_every_dtype_is_what_it_says(self):
        for dtype, kind in (("f16", "F16"), ("bf16", "BF16"), ("f32", "F32")):
            path = self.synth(dtype + ".gguf", "2MiB", "--dtype", dtype)
            kinds = {t.tensor_type.name for t in gguf.GGUFReader(path).tensors if len(t.shape) > 1}
            self.assertEqual(kinds, {kind})
            path = self.synth(dtype + ".safetensors", "2MiB", "--dtype", dtype)
            matrices = {d for d, shape, _ in Safetensors(path).tensors.values() if len(shape) > 1}
            self.assertEqual(matrices, {kind})
            self.assertGreater(path.stat().st_size, 1.98 * MIB)


if __name__ == "__main__":
    main()
