"""What every benchmark shares: the machine, the build, the peer, rows, and how tables are shown.

A row is a dict {bench, case, metric, unit, better, ours, peers, limits} as docs/benchmarks.md describes it.
"""

import functools
import html
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release"


class BenchError(Exception):
    """A benchmark could not run; the message is for the user."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def text_of(*command):
    """A command's output without the final newline, or "" when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def build(*targets):
    """Builds programs in the release tree, apart from the tests' build, and returns that tree."""
    say(f"building {' '.join(targets)}")
    # The compiler is named by the preset, so that figures of two runs come from the same one.
    for command in (
        ["cmake", "--preset", "release", "-DLOBIT_BUILD_BENCH=ON"],
        ["cmake", "--build", "--preset", "release", "--target", *targets],
    ):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return BUILD


@functools.cache
def peer_library():
    """The folder of llama.cpp's libraries in the llama_cpp package and "", or None and the reason."""
    # In another process, since an import system that has missed a package once remembers that.
    code = ("import importlib.util; spec = importlib.util.find_spec('llama_cpp'); "
            "print(spec.submodule_search_locations[0] if spec else '')")
    setup = ROOT / "script" / "setup"
    for attempt in range(2):
        package = text_of(sys.executable, "-c", code)
        if package:
            return Path(package) / "lib", ""
        if attempt == 0 and setup.exists():
            say("building the peer, llama-cpp-python, once: script/setup --bench")
            subprocess.run([str(setup), "--bench"], cwd=ROOT, stdout=sys.stderr, check=False)
    return None, "llama-cpp-python is not installed (script/setup --bench)"


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "CPU part")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def compiler():
    """The compiler of the release build, by its own account."""
    cache = BUILD / "CMakeCache.txt"
    lines = cache.read_text().splitlines() if cache.exists() else []
    paths = [line.split("=", 1)[1] for line in lines if line.startswith("CMAKE_CXX_COMPILER:")]
    return text_of(paths[0], "--version").split("\n")[0] if paths else "unknown"


def machine(extra):
    memory = next(l for l in Path("/proc/meminfo").read_text().splitlines() if l.startswith("MemTotal"))
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory.split()[1]) * 1024,
        "kernel": platform.release(),
        "compiler": compiler(),
        "load": os.getloadavg()[0],
        **extra,
    }


def available_memory():
    """Bytes that programs can still take without swapping: of the machine, or of the group that limits us."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = int(next(l for l in lines if l.startswith("MemAvailable")).split()[1]) * 1024
    for limit, used in (("memory.max", "memory.current"),
                        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:
            numbers = [int(Path("/sys/fs/cgroup", name).read_text()) for name in (limit, used)]
        except (OSError, ValueError):  # no such file, or "max"
            continue
        available = min(available, numbers[0] - numbers[1])
    return available


def commit():
    """The commit that was measured, "+changes" added when the tree differs from it."""
    changed = text_of("git", "status", "--porcelain", "--untracked-files=no")
    return (text_of("git", "rev-parse", "HEAD") or "unknown") + ("+changes" if changed else "")


def median(values):
    """The median, or None when nothing was measured."""
    return statistics.median(values) if values else None


def make_row(bench, case, metric, unit, better, ours, peers=None, limits=None, reasons=None):
    row = {
        "bench": bench, "case": case, "metric": metric, "unit": unit, "better": better,
        "ours": ours, "peers": peers or {}, "limits": limits or {},
    }
    if reasons:
        row["reasons"] = reasons
    return row


def ratio(row, other):
    """How many times better ours is than `other`, whichever way the metric counts; None when unknown."""
    if not row["ours"] or not other or row["ours"] < 0 or other < 0:  # a difference lost in the noise
        return None
    return row["ours"] / other if row["better"] == "higher" else other / row["ours"]


def number(value):
    if value is None:
        return "-"
    if 0 < value < 0.01:
        return f"{value:.3g}"
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def best_peer(row):
    """(name, value) of the best peer that was measured, or (None, None)."""
    known = {name: value for name, value in row["peers"].items() if value is not None}
    if not known:
        return None, None
    name = (max if row["better"] == "higher" else min)(known, key=known.get)
    return name, known[name]


def times_text(row, other):
    times = ratio(row, other)
    return "-" if times is None else f"{times:.2f}x"


def cells(rows):
    """One table of the rows of a metric: its header and its lines, as text.

    Few peers have a ratio each; of many, the best one has it.
    """
    peers = list(dict.fromkeys(name for row in rows for name in row["peers"]))
    limits = list(dict.fromkeys(name for row in rows for name in row["limits"]))
    many = len(peers) > 3
    with_ratio = limits if many else peers + limits
    header = ["case", "ours"] + (["best peer", "ratio", *peers] if many else [])
    header += [cell for name in with_ratio for cell in (name, "ratio")]
    lines = []
    for row in rows:
        line = [row["case"], number(row["ours"])]
        if many:
            name, value = best_peer(row)
            line += [name or "-", times_text(row, value), *(number(row["peers"].get(name)) for name in peers)]
        for name in with_ratio:
            value = {**row["peers"], **row["limits"]}.get(name)
            line += [number(value), times_text(row, value)]
        lines.append(line)
    return header, lines


def tables(rows):
    """[(title, header, lines)]: one table for each benchmark and metric, in order of appearance."""
    groups = {}
    for row in rows:
        groups.setdefault((row["bench"], row["metric"], row["unit"], row["better"]), []).append(row)
    return [
        (f"{bench}: {metric} in {unit}, {better} is better", *cells(group))
        for (bench, metric, unit, better), group in groups.items()
    ]


def goal_notes(rows):
    """How many rows of each table that has a goal reach it: at most `goal` times worse than the best peer."""
    counts = {}
    for row in rows:
        times = ratio(row, best_peer(row)[1]) if "goal" in row else None
        if times is not None:
            counts.setdefault((row["bench"], row["metric"], row["goal"]), []).append(times * row["goal"] >= 1)
    return [f"{bench}, {metric}: within {goal}x of the best peer in {sum(reached)} of {len(reached)} rows"
            for (bench, metric, goal), reached in counts.items()]


def notes(rows):
    """What the numbers do not say: goals, absent values with reasons, and bytes that differ from the peer's."""
    found = {}
    for row in rows:
        for name, reason in row.get("reasons", {}).items():
            found.setdefault(f"no {name}: {reason}", []).append(row["case"])
        if row.get("bytes_equal") is False:
            found.setdefault("BYTES DIFFER from the peer's", []).append(row["case"])

    def listed(cases):
        return ", ".join(cases) if len(cases) <= 4 else f"{len(cases)} cases: {cases[0]}, ..."

    return goal_notes(rows) + [f"{note} ({listed(list(dict.fromkeys(cases)))})" for note, cases in found.items()]


def print_tables(rows):
    for title, header, lines in tables(rows):
        widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
        print(f"\n{title}")
        for line in [header, *lines]:
            print("  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]))
    for note in notes(rows):
        print(note)


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>lobit benchmarks</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin-bottom: 2rem; font-variant-numeric: tabular-nums }}
th, td {{ padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child {{ text-align: left }}
</style><h1>lobit benchmarks</h1><p>{facts}</p>{tables}{notes}</html>
"""


def write_html(path, result):
    """All tables as one page without outside resources."""
    def table(title, header, lines):
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in lines)
        return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"

    facts = {**result["machine"], "commit": result["commit"]}
    page = PAGE.format(
        facts="<br>".join(f"{key}: {html.escape(str(value))}" for key, value in facts.items()),
        tables="".join(table(*parts) for parts in tables(result["rows"])),
        notes="".join(f"<p>{html.escape(note)}</p>" for note in notes(result["rows"])),
    )
    Path(path).write_text(page, encoding="utf-8")


def write_json(path, result):
    Path(path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def require_space(folder, needed):
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchError(f"{folder}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
