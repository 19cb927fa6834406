"""mem report, and convert --memory-trace: what a trace of the program itself says, and what becomes of traces that
others wrote, by intent or not."""

import csv
import json
import os
import re
import resource
import time
import unittest
from pathlib import Path

from support import KIB, MIB, SANITIZED, CliTest, digest, f16_bytes, lobit, main, tree, weights, write_safetensors

HEADER = "lobit_trace_2,thread,time_ns,block,bytes,alignment,stream,tag,address,stack"
FIELDS = HEADER.split(",")
ALLOCATE = "allocate,0,10,1,4096,64,0,io,65536,0"
FREE = "free,0,20,1,4096,64,0,io,65536,0"


class Trace:
    """The numbers that a report should show, from the lines of a trace."""

    def __init__(self, path):
        lines = Path(path).read_text().split("\n")
        assert lines[0] == HEADER and lines[-1] == "", "a header, and a line feed at the end"
        self.facts = [line for line in lines if line.startswith("#")]
        events = [line for line in lines[1:-1] if not line.startswith("#")]
        self.events = [dict(zip(FIELDS, row, strict=True)) for row in csv.reader(events)]
        for event in self.events:
            for field in FIELDS[1:7] + FIELDS[8:]:
                event[field] = int(event[field])
        self.count()

    def count(self):
        self.live, self.by_tag, self.peak_by_tag, self.totals = {}, {}, {}, {}
        self.peak, committed = {"live_bytes": 0, "time_ns": 0, "by_tag": {}}, 0
        totals = {"allocations": 0, "frees": 0, "refused": 0, "allocated_bytes": 0, "trims": 0, "peak_committed": 0}
        for event in self.events:
            op, tag, size = event["lobit_trace_2"], event["tag"], event["bytes"]
            if op == "allocate":
                totals["allocations"] += 1
                totals["allocated_bytes"] += size
                self.live[event["block"]] = size
                self.by_tag[tag] = self.by_tag.get(tag, 0) + size
                self.peak_by_tag[tag] = max(self.peak_by_tag.get(tag, 0), self.by_tag[tag])
            elif op == "free":
                totals["frees"] += 1
                assert self.live.pop(event["block"]) == size
                self.by_tag[tag] -= size
            elif op == "refuse":
                totals["refused"] += 1
            elif op == "trim":
                totals["trims"] += 1
            else:
                committed = size
            live = sum(self.live.values())
            if live > self.peak["live_bytes"]:
                self.peak = {"live_bytes": live, "time_ns": event["time_ns"], "by_tag": dict(self.by_tag)}
            if committed > 0:
                totals["peak_committed"] = max(totals["peak_committed"], committed, live)
        totals["live_bytes"], totals["live_blocks"] = sum(self.live.values()), len(self.live)
        totals["threads"] = len({event["thread"] for event in self.events})
        self.totals = totals

    def fact(self, word):
        """The text of the only fact of a kind, its escapes undone."""
        (line,) = [line for line in self.facts if line.startswith(f"#{word} ")]
        return re.sub("%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), line[len(word) + 2 :])


class MemTest(CliTest):
    def trace(self, *lines, name="trace.csv"):
        """A trace of some events and facts; a line may be bytes."""
        data = [line if isinstance(line, bytes) else line.encode() for line in (HEADER, *lines)]
        self.path(name).write_bytes(b"".join(line + b"\n" for line in data))
        return self.path(name)

    def converted(self, source, *args, trace="t.csv", out="o.gguf"):
        """A conversion that writes a trace; returns the path of the trace."""
        self.ok("convert", source, "-o", self.path(out), "--memory-trace", self.path(trace), "--overwrite", *args)
        return self.path(trace)

    def assert_agrees(self, report, trace):
        """A report in JSON has the numbers of a trace's lines."""
        for name, value in trace.totals.items():
            self.assertEqual(report["totals"][name], value, name)
        self.assertEqual(report["duration_ns"], trace.events[-1]["time_ns"])
        self.assertEqual(report["peak"]["live_bytes"], trace.peak["live_bytes"])
        self.assertEqual(report["peak"]["time_ns"], trace.peak["time_ns"])
        held = dict(zip(report["tags"], report["peak"]["bytes_by_tag"], strict=True))
        self.assertEqual({t: n for t, n in held.items() if n}, {t: n for t, n in trace.peak["by_tag"].items() if n})
        most = dict(zip(report["tags"], report["peak_by_tag"], strict=True))
        self.assertEqual({t: n for t, n in most.items() if n}, trace.peak_by_tag)
        self.assertEqual({b["block"]: b["bytes"] for b in report["unfreed"]}, trace.live)
        self.assertEqual(sum(h["bytes"] for h in report["at_peak"]), trace.peak["live_bytes"])
        self.assertEqual(sum(h["bytes"] for h in report["at_end"]), trace.totals["live_bytes"])


def page_data(page):
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(data)


def counters(perfetto, name):
    return [event for event in perfetto["traceEvents"] if event["ph"] == "C" and event["name"] == name]


class Conversions(MemTest):
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


class FailedConversions(MemTest):
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


class TraceFiles(MemTest):
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


class HandMade(MemTest):
    def test_leaks_tags_and_callers_are_named(self):
        path = self.trace(
            "#name a leak", "#limit 1048576",
            "allocate,0,1000,1,65536,64,0,weights,0,3", "allocate,1,2000,2,300000,64,0,kv_cache,0,9",
            "refuse,1,3000,0,2000000,64,0,kv_cache,0,9", "free,0,5000,1,65536,64,0,weights,0,0",
            "usage,0,6000,0,400000,0,0,untagged,0,0",
            "#stack 3 load(int)@model/load.cc:7|main@main.cc:20", "#stack 9 KvCache::append%7C%25()@model/kv.cc:88",
        )  # fmt: skip
        report, out = self.json("mem", "report", path), self.ok("mem", "report", path).out
        self.assert_agrees(report, Trace(path))
        self.assertEqual((report["name"], report["limit"]), ("a leak", MIB))
        (leak,) = report["unfreed"]
        self.assertEqual(
            (leak["block"], leak["bytes"], leak["time_ns"], leak["age_ns"], leak["thread"]), (2, 300000, 2000, 4000, 1)
        )
        self.assertEqual(report["tags"][leak["tag"]], "kv_cache")
        self.assertEqual(
            report["stacks"][leak["stack"]], [{"function": "KvCache::append|%()", "file": "model/kv.cc", "line": 88}]
        )
        for words in ("a leak", "Unfreed blocks", "KvCache::append|% ", "model/kv.cc:88", "weights", "kv_cache",
                      "1 allocation", "load ", "model/load.cc:7"):  # fmt: skip
            self.assertIn(words, out)

    def test_patterns_and_what_would_lower_the_peak(self):
        lines, time_ns = [], 0
        for block in range(1, 201):  # one size again and again, each a little later
            lines.append(f"allocate,0,{time_ns},{block},40000,64,0,activations,4096,1")
            lines.append(f"free,0,{time_ns + 500},{block},40000,64,0,activations,4096,0")
            time_ns += 1000
        for block in range(201, 260):  # a buffer that grows by copying
            size = 10000 * (block - 200)
            lines.append(f"allocate,0,{time_ns},{block},{size},64,0,kv_cache,0,2")
            if block > 201:
                lines.append(f"free,0,{time_ns + 10},{block - 1},{size - 10000},64,0,kv_cache,0,0")
            time_ns += 1000
        path = self.trace(*lines, "#stack 1 forward@f.cc:1", "#stack 2 append@a.cc:2")
        report, out = self.json("mem", "report", path), self.ok("mem", "report", path).out
        self.assert_agrees(report, Trace(path))
        found = {(p["kind"], report["tags"][p["tag"]]) for p in report["patterns"]}
        self.assertLessEqual({("repeating", "activations"), ("regrowth", "kv_cache")}, found)
        self.assertTrue(report["advice"])
        for words in ("Patterns", "forward", "append (a.cc:2)", "What would lower the peak"):
            self.assertIn(words, out)
        flat = re.sub(r"\s+", " ", out)
        for pattern in report["patterns"]:
            self.assertIn(pattern["text"] + ".", flat)
            self.assertIn(pattern["advice"] + ".", flat)

    def test_all_lists_what_the_summary_leaves_out(self):
        path = self.trace(*(f"allocate,0,{i},{i},{1000 + i},64,0,io,0,0" for i in range(1, 51)))
        short, long = self.ok("mem", "report", path).out, self.ok("mem", "report", path, "--all").out
        self.assertIn("and 30 more", short)
        self.assertNotIn("more\n", long)
        self.assertGreater(long.count("\n"), short.count("\n") + 25)

    def test_nothing_but_a_header_is_a_trace(self):
        path = self.trace()
        report = self.json("mem", "report", path)
        self.assertEqual((report["name"], report["totals"]["allocations"]), (str(path), 0))
        self.assertIn("0", self.ok("mem", "report", path, "--report", self.path("p.html")).out)
        self.assertEqual(page_data(self.path("p.html").read_text()), report)

    def test_facts_that_nobody_knows_are_skipped(self):
        path = self.trace("#future 1 2 3", "#", "#Name x", ALLOCATE, FREE)
        self.assertEqual(self.json("mem", "report", path)["totals"]["frees"], 1)


def replaced(line, field, value):
    fields = line.split(",")
    fields[FIELDS.index(field) if field in FIELDS else 0] = value
    return ",".join(fields)


# What stands in the file, the line that is wrong, and words of the message.
MALFORMED = {
    "an empty file": (b"", 1, "lobit_trace_2"),
    "no header": (f"{ALLOCATE}\n", 1, "lobit_trace_2"),
    "half a header": (HEADER[:30], 1, "lobit_trace_2"),
    "an older version": (HEADER.replace("_2", "_1") + f"\n{ALLOCATE}\n", 1, "lobit_trace_1"),
    "a newer version": (HEADER.replace("_2", "_3") + f"\n{ALLOCATE}\n", 1, "lobit_trace_3"),
    "lines of another system": (f"{HEADER}\r\n{ALLOCATE}\r\n", 1, "lobit_trace_2"),
    "a word for a number": ([replaced(ALLOCATE, "bytes", "4k")], 2, "'4k'"),
    "a negative number": ([replaced(ALLOCATE, "bytes", "-4096")], 2, "'-4096'"),
    "a leading zero": ([replaced(ALLOCATE, "block", "01")], 2, "'01'"),
    "a number beyond 64 bits": ([replaced(ALLOCATE, "address", "18446744073709551616")], 2, "18446744073709551615"),
    "an unknown operation": ([ALLOCATE, replaced(FREE, "op", "release")], 3, "'release'"),
    "a field too few": ([ALLOCATE, FREE.rsplit(",", 1)[0]], 3, "ten fields"),
    "a field too many": ([ALLOCATE + ",0"], 2, "ten fields"),
    "an empty line": ([ALLOCATE, "", FREE], 3, "ten fields"),
    "no bytes": ([replaced(ALLOCATE, "bytes", "0")], 2, "at least 1 byte"),
    "an odd alignment": ([replaced(ALLOCATE, "alignment", "48")], 2, "power of two"),
    "a tag of capitals": ([replaced(ALLOCATE, "tag", "IO")], 2, "'IO'"),
    "a free of an unknown block": ([ALLOCATE, replaced(FREE, "block", "7")], 3, "never allocated"),
    "a block that is freed twice": ([ALLOCATE, FREE, FREE], 4, "freed before"),
    "a free of another size": ([ALLOCATE, replaced(FREE, "bytes", "4095")], 3, "4095"),
    "time that runs back": ([ALLOCATE, replaced(FREE, "time_ns", "9")], 3, "at least 10 ns"),
    "more live bytes than there are": (
        [replaced(ALLOCATE, "bytes", str(2**64 - 1)), ALLOCATE.replace(",1,", ",2,")], 3, "2^64"),
    "a line that is too long": ([ALLOCATE, FREE + "0" * 300], 3, "at most"),
    "a fact that is too long": (["#future " + "x" * 20000], 2, "at most"),
    "a bad escape": ([ALLOCATE, "#stack 1 f%0@a.cc:1"], 3, ""),
    "a limit twice": (["#limit 5", "#limit 5"], 3, ""),
    "the last line cut short": (f"{HEADER}\n{ALLOCATE}\n{FREE[:12]}", 3, "line feed"),
    "the last line feed missing": (f"{HEADER}\n{ALLOCATE}", 2, "line feed"),
    "bytes of no text": (bytes(range(256)) * 300, 1, "lobit_trace_2"),
    "zeros": (bytes(100_000), 1, "lobit_trace_2"),
    "text that acts on terminals": ([b"\x1b[31m\x1b]0;owned\x07\xff\xfe,0"], 2, "ten fields"),
}  # fmt: skip


class Malformed(MemTest):
    def refused(self, path, says, code=1):
        before = tree(self.folder)
        files = ("--report", self.path("p.html"), "--perfetto", self.path("p.json"))
        run = self.fails(code, says, "mem", "report", path, *files, timeout=20)
        self.assertEqual(run.out, "")
        self.assertEqual(run.err.count("\n"), 1)
        self.assertIsNone(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", run.err), repr(run.err))
        self.assertLess(len(run.err), 1000)
        error = self.json("mem", "report", path, *files, code=code)
        self.assertEqual(error["schema"], "lobit.error.v1")
        self.assertEqual(tree(self.folder), before)
        return error["error"]

    def test_traces_that_break_a_rule_are_refused_with_the_line(self):
        for what, (content, line, says) in MALFORMED.items():
            with self.subTest(what):
                path = self.trace(*content) if isinstance(content, list) else self.path("trace.csv")
                if not isinstance(content, list):
                    path.write_bytes(content if isinstance(content, bytes) else content.encode())
                error = self.refused(path, [str(path), f"line {line}:", says])
                self.assertEqual((error["code"], error["detail"]["index"]), ("corrupt", line))

    def test_what_is_no_file(self):
        self.refused(self.path("absent.csv"), ["absent.csv", "No such file"])
        self.refused(self.folder, [self.folder.name, "expected a regular file"])
        self.refused("/dev/zero", "expected a regular file")
        os.mkfifo(self.path("pipe.csv"))
        self.refused(self.path("pipe.csv"), "expected a regular file")
        self.refused("", "", code=1)

    def test_a_trace_beyond_what_a_reader_holds(self):
        path = self.trace(*(replaced(replaced(ALLOCATE, "tag", f"tag_{i}"), "block", str(i)) for i in range(1, 65)))
        error = self.refused(path, [str(path), "line 65:", "at most 64 tags"], code=3)
        self.assertEqual(error["code"], "limit")

    def test_a_model_is_no_trace(self):
        self.refused(self.synth("m.gguf"), ["m.gguf", "line 1:", "lobit_trace_2"])


HOSTILE = "a%1B]0;owned%07%1B[31m%0D%0A<script>alert(1)</script>%E2%80%AE%C2%9B&\"'</script><!--"


class Hostile(MemTest):
    def test_nothing_of_a_trace_acts_on_terminals_or_pages(self):
        path = self.trace(
            f"#name {HOSTILE}", "allocate,0,1000,1,65536,64,0,weights,4096,3", "usage,0,2000,0,70000,0,0,untagged,0,0",
            "allocate,0,3000,2,65536,64,0,weights,0,3", f"#stack 3 {HOSTILE}@{HOSTILE}:1|{HOSTILE}%40@%3Cb%3E:2",
        )  # fmt: skip
        page, perfetto = self.path("p.html"), self.path("p.json")
        for args in ((), ("--all",), ("--json",)):
            run = self.ok("mem", "report", path, "--report", page, "--perfetto", perfetto, *args)
            self.assertIn("alert(1)", run.out)
            # JSON is for programs: it has what is above ASCII as it is.
            beyond = "" if "--json" in args else r"\x80-\x9f\u202a-\u202e\u2066-\u2069"
            self.assertIsNone(re.search(rf"[\x00-\x08\x0b-\x1f\x7f{beyond}]", run.out), args)
        report = json.loads(run.out)
        name = "a\x1b]0;owned\x07\x1b[31m\r\n<script>alert(1)</script>\u202e\x9b&\"'</script><!--"
        self.assertEqual(report["name"], name)
        self.assertEqual(report["stacks"][report["unfreed"][0]["stack"]][0], {"function": name, "file": name, "line": 1})
        text = page.read_text()
        self.assertEqual(page_data(text), report)
        shown = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.S)
        self.assertNotIn("<script", shown)
        self.assertNotIn("<b>:", shown)
        self.assertIn("&lt;script&gt;alert(1)", shown)
        self.assertIsNone(re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\x9b]", shown))
        self.assertEqual(text.count("<!--"), 0)
        names = [e["args"]["name"] for e in json.loads(perfetto.read_text())["traceEvents"] if e["name"] == "process_name"]
        self.assertEqual(names, [name])

    def test_names_of_files_in_messages(self):
        run = lobit("mem", "report", self.path("absent\x1b[31m\n.csv"))
        self.assertEqual((run.code, run.err.count("\n")), (1, 1))
        self.assertNotIn("\x1b", run.err)


class Targets(MemTest):
    """Where a report may be written to."""

    def setUp(self):
        super().setUp()
        self.source = self.trace(ALLOCATE, FREE)

    def refused(self, code, says, *args, **options):
        before = tree(self.folder)
        run = self.fails(code, says, "mem", "report", self.source, *args, **options)
        self.assertEqual((run.out, tree(self.folder)), ("", before))
        self.assert_no_leftovers()

    def test_only_what_is_of_the_kind_is_replaced(self):
        for option, name in (("--report", "p.html"), ("--perfetto", "p.json")):
            self.path(name).write_text("{}")
            self.refused(2, [name, "not replaced"], option, self.path(name))
            self.refused(1, ["no/such", "folder does not exist"], option, self.path(f"no/such/{name}"))
            self.refused(2, option, option, "")
        self.refused(2, ".html", "--report", self.path("p.txt"))
        self.refused(2, "not replaced", "--perfetto", self.source)
        self.refused(2, "not replaced", "--perfetto", "/dev/full")

    def test_two_reports_in_one_file(self):
        self.refused(2, ["--report", "--perfetto"], "--report", self.path("p.html"), "--perfetto", self.path("p.html"))
        self.refused(2, "--perfetto", "--report", self.path("p.html"), "--perfetto", f"{self.folder}/./p.html")

    def test_a_full_disk(self):
        limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 * KIB, 2 * KIB))}
        self.refused(1, "p.html", "--report", self.path("p.html"), **limit)

    def test_a_full_device_and_a_closed_pipe(self):
        for args in ((), ("--json",)):
            with open("/dev/full", "w") as full:
                run = lobit("mem", "report", self.source, *args, stdout=full)
            self.assertEqual(run.code, 1)
            self.assertIn("standard output", run.err)
            reader, writer = os.pipe()
            os.close(reader)
            run = lobit("mem", "report", self.source, *args, stdout=writer)
            os.close(writer)
            self.assertEqual(run.code, 1)


class LongTraces(MemTest):
    def long_trace(self, events):
        """Blocks of many sizes, tags and stacks, a few hundred of them live at a time."""
        live, lines, block = [], [], 0
        for i in range(events):
            if len(live) > 300 or (live and i % 3 == 2):
                line = live.pop((i * 7919) % len(live))
            else:
                block += 1
                tag = ("weights", "io", "kv_cache", "scratch")[block % 4]
                line = f"{block},{64 + block * 37 % 100_000},64,0,{tag},{4096 + block % 1000 * 131072},"
                live.append(line)
                lines.append(f"allocate,{i % 4},{i * 100},{line}{1 + block % 50}")
                continue
            lines.append(f"free,{i % 4},{i * 100},{line}0")
        stacks = [f"#stack {i} function_{i}@file_{i}.cc:{i}|main@main.cc:1" for i in range(1, 51)]
        return self.trace(*lines, *stacks, name=f"{events}.csv")

    def test_a_hundred_thousand_events(self):
        path = self.long_trace(100_000)
        start = time.monotonic()
        report = self.json("mem", "report", path, "--report", self.path("p.html"), "--perfetto", self.path("p.json"))
        self.assertLess(time.monotonic() - start, 60 if SANITIZED else 10)
        self.assert_agrees(report, Trace(path))
        self.assertLess(self.path("p.html").stat().st_size, 4 * MIB)
        self.assertLess(self.path("p.json").stat().st_size, 4 * MIB)

    @unittest.skipIf(SANITIZED, "sanitizers hold memory of their own")
    def test_memory_does_not_grow_with_the_events(self):
        start = self.peak_of("mem", "report", self.trace(ALLOCATE, FREE))
        self.assertLess(start, 40 * MIB)
        for events, most in ((2_000, 12 * MIB), (100_000, 16 * MIB)):
            self.assertLess(self.peak_of("mem", "report", self.long_trace(events), "--all"), start + most, events)


class Usage(MemTest):
    def test_help(self):
        self.assertIn("mem", self.ok("--help").out)
        self.assertIn("report", self.ok("mem", "--help").out)
        out = self.ok("mem", "report", "--help").out
        for word in ("TRACE", "--report", "--perfetto", "--all", "--json", "Examples:"):
            self.assertIn(word, out)
        self.assertIn("--memory-trace", self.ok("convert", "--help").out)

    def test_suggestions_at_every_level(self):
        for args, right in {
            ("mme",): "lobit mem", ("mem", "reprot"): "lobit mem report", ("mem", "reports", "t.csv"): "lobit mem report",
        }.items():  # fmt: skip
            self.fails(2, f"Did you mean `{right}`?", *args)
        run = self.fails(2, "Run `lobit mem --help` for more.", "mem", "zzzzzzzzzzz")
        self.assertNotIn("Did you mean", run.err)

    def test_what_is_missing_or_unknown(self):
        self.fails(2, "Run `lobit mem --help` for more.", "mem")
        self.fails(2, ["TRACE", "Run `lobit mem report --help` for more."], "mem", "report")
        self.fails(2, ["--nope", "lobit mem report --help"], "mem", "report", "t.csv", "--nope")
        self.fails(2, "second.csv", "mem", "report", "first.csv", "second.csv")
        for args in (("mem",), ("mem", "report"), ("mem", "reprot"), ("mem", "report", "t.csv", "--nope")):
            error = self.json(*args, code=2)
            self.assertEqual((error["schema"], error["error"]["code"]), ("lobit.error.v1", "invalid argument"))


if __name__ == "__main__":
    main()
