"""convert --memory-trace: what a trace of the program itself says, and where it may be written to."""

import json
import os
import resource
from pathlib import Path

from memory_traces import HEADER, Trace, TraceTest, page_data
from support import MIB, digest, f16_bytes, main, tree, weights, write_safetensors


def counters(perfetto, name):
    return [event for event in perfetto["traceEvents"] if event["ph"] == "C" and event["name"] == name]


class Conversions(TraceTest):
    def setUp(self):
        super().setUp()
        self.source = self.synth("m.gguf", "4MiB")

    def test_a_report_says_what_the_lines_of_the_trace_say(self):
        path = self.converted(self.source, "--to", "q4_0", "--memory-limit", "8MiB", "--threads", 3)
        trace = Trace(path)
        self.assertEqual(trace.facts[:2], [f"#name {trace.fact('name')}", f"#limit {8 * MIB}"])
        self.assertRegex(trace.fact("name"), r"^lobit convert .*m\.gguf.* --to q4_0.* --memory-limit 8MiB")
        self.assertEqual(trace.totals["live_blocks"], 0)
        self.assertEqual(trace.totals["refused"], 0)
        self.assertEqual(trace.peak_by_tag.keys(), {"io"})
        self.assertEqual(trace.totals["allocations"], 3, "a buffer for each thread")
        self.assertTrue(0 < trace.peak["live_bytes"] <= trace.totals["peak_committed"] <= 8 * MIB)

        report = self.json("mem", "report", path)
        self.assertEqual((report["schema"], report["limit"]), ("lobit.memory.v1", 8 * MIB))
        self.assertEqual(report["name"], trace.fact("name"))
        self.assert_agrees(report, trace)

    def test_verify_is_in_the_trace_too(self):
        plain = Trace(self.converted(self.source, "--to", "q4_0", trace="plain.csv"))
        path = self.converted(self.source, "--to", "q4_0", "--verify")
        trace = Trace(path)
        self.assertGreater(len(trace.events), len(plain.events))
        self.assertEqual(trace.totals["live_blocks"], 0)
        self.assert_agrees(self.json("mem", "report", path), trace)

    def test_a_pass_over_the_source_for_scales_takes_scratch(self):
        trace = Trace(self.converted(self.source, "--to", "tq2_0", "--ternary", "absmean", "--memory-limit", "16MiB"))
        self.assertEqual(trace.peak_by_tag.keys(), {"io", "scratch"})
        self.assertEqual(trace.totals["live_blocks"], 0)

    def test_page_and_perfetto_file_have_the_same_numbers(self):
        path = self.converted(self.source, "--to", "q8_0", "--verify", "--memory-limit", "16MiB")
        page, perfetto = self.path("page.html"), self.path("perfetto.json")
        report = self.json("mem", "report", path, "--report", page, "--perfetto", perfetto)
        self.assertEqual(page_data(page.read_text()), report)
        self.assertIn("<svg", page.read_text())
        shown = json.loads(perfetto.read_text())
        live = counters(shown, "live bytes")
        self.assertEqual([sum(e["args"].values()) for e in live], [m["live_bytes"] for m in report["timeline"]])
        self.assertEqual(max(sum(e["args"].values()) for e in live), report["peak"]["live_bytes"])
        self.assertEqual({e["args"]["bytes"] for e in counters(shown, "limit")}, {16 * MIB})
        (peak,) = [event for event in shown["traceEvents"] if event["ph"] == "i"]
        self.assertEqual(peak["args"]["live_bytes"], report["peak"]["live_bytes"])
        # What they replace is their own.
        for _ in range(2):
            self.ok("mem", "report", path, "--report", page, "--perfetto", perfetto)
        self.assertEqual(page_data(page.read_text()), report)
        self.assert_no_leftovers()

    def test_text_names_peak_tags_and_callers(self):
        path = self.converted(self.source, "--to", "q4_0", "--memory-limit", "8MiB")
        report, out = self.json("mem", "report", path), self.ok("mem", "report", path).out
        self.assertIn("lobit convert", out)
        self.assertRegex(out, r"(?m)^  peak +[\d.]+ [KM]iB at .*% of the limit of 8 MiB")
        self.assertRegex(out, r"(?m)^io +")
        self.assertRegex(out, r"(?m)^  current +0 B in 0 blocks")
        self.assertIn("Holders at the peak", out)
        functions = {f.get("function", "") for stack in report["stacks"] for f in stack}
        self.assertTrue(any("lobit::Workers::create" in f for f in functions), functions)
        self.assertIn("Workers::create", out)
        self.assertNotIn("Patterns", out, "a conversion does nothing that it could be blamed for")

    def test_output_is_the_same_with_a_trace_and_without(self):
        for args in (("--to", "q4_0"), ("--to", "tq2_0", "--ternary", "absmean", "--memory-limit", "8MiB", "--verify")):
            self.converted(self.source, *args)
            self.ok("convert", self.source, "-o", self.path("plain.gguf"), "--overwrite", *args)
            self.assertEqual(digest(self.path("o.gguf")), digest(self.path("plain.gguf")))

    def test_a_dry_run_writes_no_trace(self):
        before = tree(self.folder)
        self.ok("convert", self.source, "-o", self.path("o.gguf"), "--to", "q4_0", "--dry-run", "--memory-trace",
                self.path("t.csv"))  # fmt: skip
        self.assertEqual(tree(self.folder), before)

    def test_the_least_memory_limit_works_with_a_trace(self):
        args = ("--to", "q4_0", "--verify")
        error = self.json("convert", self.source, "-o", self.path("o.gguf"), *args, "--memory-limit", "1KiB", code=3)
        least = error["error"]["detail"]["required"]
        trace = Trace(self.converted(self.source, *args, "--memory-limit", least))
        self.assertLessEqual(trace.totals["peak_committed"], least)
        self.assertEqual(trace.totals["refused"], 0)


class FailedConversions(TraceTest):
    def test_a_limit_that_is_too_small_writes_nothing(self):
        source = self.synth("m.gguf")
        before = tree(self.folder)
        self.fails(3, "least that works", "convert", source, "-o", self.path("o.gguf"), "--to", "q4_0", "--memory-limit",
                   "1KiB", "--memory-trace", self.path("t.csv"))  # fmt: skip
        self.assertEqual(tree(self.folder), before)

    def test_a_conversion_that_fails_leaves_a_whole_trace(self):
        values = weights(64 * 1024)
        values[50_000] = float("nan")
        source = write_safetensors(self.path("m.safetensors"), [("w", "F16", (64, 1024), f16_bytes(values))])
        self.fails(1, "element 50000", "convert", source, "-o", self.path("o.safetensors"), "--to", "tq2_0",
                   "--memory-trace", self.path("t.csv"))  # fmt: skip
        self.assertEqual(tree(self.folder).keys(), {"m.safetensors", "t.csv"})
        trace = Trace(self.path("t.csv"))
        self.assertGreater(trace.totals["allocations"], 0)
        self.assertEqual(trace.totals["live_blocks"], 0, "what failed gave its memory back")
        self.assert_agrees(self.json("mem", "report", self.path("t.csv")), trace)

    def test_targets_that_exist_are_refused_before_a_trace_is_begun(self):
        source, target = self.synth("m.gguf"), self.path("o.gguf")
        target.write_bytes(b"precious")
        before = tree(self.folder)
        self.fails(2, "--overwrite", "convert", source, "-o", target, "--to", "q4_0", "--memory-trace", self.path("t.csv"))
        self.assertEqual(tree(self.folder), before)


class TraceFiles(TraceTest):
    """Where a trace may be written to."""

    def setUp(self):
        super().setUp()
        self.source = self.small_model()

    def refused(self, code, says, trace, out="o.gguf"):
        before = tree(self.folder)
        args = ("convert", self.source, "-o", self.path(out), "--to", "q8_0", "--memory-trace", trace)
        self.fails(code, says, *args)
        self.assertEqual(self.json(*args, code=code)["schema"], "lobit.error.v1")
        self.assertEqual(tree(self.folder), before)
        self.assert_no_leftovers()

    def test_files_that_are_no_traces_stay(self):
        for content in (b"precious", b"", b"lobit", b"\n" + HEADER.encode(), b"<!DOCTYPE html>"):
            self.path("t.csv").write_bytes(content)
            self.refused(2, ["memory trace", "t.csv", "not replaced"], self.path("t.csv"))
        self.refused(2, "not replaced", self.source)
        self.refused(2, "not replaced", self.folder)
        self.refused(2, "not replaced", Path("/dev/full"))
        self.refused(2, "not replaced", Path("/dev/null"))
        self.path("link.csv").symlink_to(self.path("absent"))
        self.refused(2, "not replaced", self.path("link.csv"))
        os.mkfifo(self.path("pipe.csv"))
        self.refused(2, "not replaced", self.path("pipe.csv"))

    def test_an_old_trace_is_replaced_whatever_its_version(self):
        for content in (HEADER + "\n", "lobit_trace_1,thread\nallocate", HEADER + "\nnonsense"):
            self.path("t.csv").write_text(content)
            self.assertGreater(len(Trace(self.converted(self.source, "--to", "q8_0")).events), 0)

    def test_folders_that_do_not_exist(self):
        self.refused(1, ["no/such", "folder does not exist"], self.path("no/such/t.csv"))
        self.refused(1, "t.csv", self.path("small.gguf/t.csv"))
        self.refused(1, "t.csv", Path("/proc/t.csv"))
        self.refused(2, "--memory-trace", "")

    def test_a_trace_does_not_replace_what_the_same_run_writes(self):
        self.refused(2, "--memory-trace", self.path("o.gguf"))
        self.refused(2, "--memory-trace", f"{self.folder}/./o.gguf")
        args = ("convert", self.source, "-o", self.path("o.gguf"), "--to", "q8_0", "--report", self.path("p.html"))
        before = tree(self.folder)
        self.fails(2, "--memory-trace", *args, "--memory-trace", self.path("p.html"))
        self.assertEqual(tree(self.folder), before)

    def test_a_trace_that_does_not_fit_the_disk_is_an_error(self):
        old = HEADER + "\n"
        self.path("t.csv").write_text(old)
        # The buffers of so many threads make the trace larger than the model.
        args = ("convert", self.source, "-o", self.path("o.gguf"), "--to", "tq2_0", "--pure", "--threads", 100,
                "--memory-trace", self.path("t.csv"))  # fmt: skip
        self.ok(*args)
        size = self.path("t.csv").stat().st_size * 3 // 4
        self.assertLess(self.path("o.gguf").stat().st_size, size)
        self.path("t.csv").write_text(old)
        limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}
        self.fails(1, "t.csv", *args, "--overwrite", **limit)
        self.assertEqual(self.path("t.csv").read_text(), old)
        self.assert_no_leftovers()


if __name__ == "__main__":
    main()
