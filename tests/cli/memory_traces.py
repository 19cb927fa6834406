"""What tests of memory traces share: writing one, and counting what its lines say without lobit."""

import csv
import json
import re
from pathlib import Path

from support import CliTest

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


def page_data(page):
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(data)


class TraceTest(CliTest):
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
