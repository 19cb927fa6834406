"""mem report: what it says of traces that others wrote, by intent or not."""

import json
import os
import re
import resource
import time
import unittest

from memory_traces import ALLOCATE, FIELDS, FREE, HEADER, Trace, TraceTest, page_data
from support import KIB, MIB, SANITIZED, lobit, main, tree


class HandMade(TraceTest):
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


class Malformed(TraceTest):
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


class Hostile(TraceTest):
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


class Targets(TraceTest):
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


class LongTraces(TraceTest):
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


class Usage(TraceTest):
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
