"""Time and memory of `lobit convert` on a 1 GB model, against llama.cpp's quantizer and cp."""

import json
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import common

HERE = Path(__file__).resolve().parent
THREADS = 2
LIMIT_MIB = 64
LIMIT = f"{LIMIT_MIB}MiB"
# (source, target, llama.cpp's number of the file type)
CASES = [("f16", "tq2_0", 37), ("f16", "q8_0", 7), ("f16", "bf16", 32), ("f32", "f16", 1)]
MODEL_BYTES = {"f16": 1_000_000_000, "f32": 2_000_000_000}
QUICK_DIVISOR = 5


class Failure(Exception):
    """One contestant cannot run; the message is the reason in its rows."""


def last_line(text):
    return (text.strip().splitlines() or ["no message"])[-1]


class Contestant:
    """One way to write `output`: {wall, cpu, rss} of every run, or the reason why it does not run."""

    def __init__(self, measure, output):
        self.measure = measure
        self.output = output
        self.runs = []
        self.reason = ""
        self.size = None

    def run(self, keep):
        """Runs once into a fresh file. Removing it at once takes its dirty pages out of the next runs' way."""
        if self.reason:
            return
        try:
            run = self.measure()
            self.size = self.output.stat().st_size
            self.runs.append(run)
        except (Failure, FileNotFoundError) as failure:
            self.reason = str(failure)
        if not keep:
            self.output.unlink(missing_ok=True)

    def value(self, quantity):
        return None if self.reason else common.median([run[quantity] for run in self.runs])


class Bench:
    """The programs and the folder that all cases share."""

    def __init__(self, options, folder):
        build = common.build("lobit_program", "lobit_bench_measure")
        self.lobit = options.lobit or str(build / "lobit" / "cli" / "lobit")
        self.measure_program = str(build / "bench" / "lobit_bench_measure")
        self.rounds = 3 if options.quick else 7
        self.divisor = QUICK_DIVISOR if options.quick else 1
        self.folder = folder

    def measured(self, *command):
        """Runs a command under lobit_bench_measure: {wall, cpu, rss}."""
        done = subprocess.run([self.measure_program, *map(str, command)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        *message, result = done.stderr.strip().splitlines()
        figures = json.loads(result)
        if figures["exit"] != 0:
            raise Failure(f"{Path(command[0]).name} {command[1]}: {last_line(chr(10).join(message))}")
        return figures

    def model(self, dtype):
        """A synthetic model whose size is named for F16: the same weights in every dtype."""
        path = self.folder / f"in-{dtype}.gguf"
        size = MODEL_BYTES[dtype] // self.divisor
        common.say(f"making a model of {size / 1e9:.1f} GB in {dtype}")
        done = subprocess.run([self.lobit, "synth", "-o", path, "--size", str(size), "--dtype", dtype],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0 or not path.exists():
            raise common.BenchError(f"lobit synth failed: {last_line(done.stderr)}")
        return path

    def contestants(self, source, target, file_type):
        def output(name):
            return self.folder / f"out-{name}.gguf"

        def lobit(name, *more):
            command = [self.lobit, "convert", source, "-o", output(name), "--to", target, "--pure",
                       "--threads", THREADS, "--overwrite", *more]
            return Contestant(lambda: self.measured(*command), output(name))

        def shell(name, line):
            line = line.format(source=shlex.quote(str(source)), output=shlex.quote(str(output(name))))
            return Contestant(lambda: self.measured("sh", "-c", line), output(name))

        return {
            "ours": lobit("ours"),
            "cp": shell("cp", "cp {source} {output}"),
            "llama.cpp": Contestant(lambda: llama_quantize(source, output("peer"), file_type), output("peer")),
            "ours, limited": lobit("limited", "--memory-limit", LIMIT),
            "ours, sync": lobit("sync", "--sync"),
            "cp, sync": shell("cp-sync", "cp {source} {output} && sync {output}"),
        }


def llama_quantize(source, output, file_type):
    if common.peer_library()[0] is None:
        raise Failure(common.peer_library()[1])
    command = [sys.executable, HERE / "llama_quantize.py", source, output, str(file_type), str(THREADS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"llama_model_quantize: {last_line(done.stderr)}")
    return json.loads(last_line(done.stdout))


def compare(ours, peer):
    """Whether two files hold the same tensors, byte for byte; None and the reason when that is unknown."""
    if ours.reason or peer.reason:
        return None, "one of the files is missing"
    done = subprocess.run([sys.executable, str(HERE / "compare.py"), ours.output, peer.output],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None, last_line(done.stderr)
    differing = json.loads(done.stdout)["differing"]
    if differing:
        common.say(f"BYTES DIFFER in {len(differing)} tensors: {', '.join(differing[:5])}")
    return not differing, ""


# Metric -> (unit, the figure of a run, units in that figure).
METRICS = {"time": ("s", "wall", 1), "processor time": ("s", "cpu", 1), "peak memory": ("MiB", "rss", 1 << 20)}
# What a row adds to the case's name, and its contestants: (ours, peer, limit).
VARIANTS = {
    "": ("ours", "llama.cpp", "cp"),
    f" --memory-limit {LIMIT}": ("ours, limited", "llama.cpp", "cp"),
    " --sync": ("ours, sync", None, "cp, sync"),
}


def rows_of(case, contestants, start_up):
    rows = []
    for metric, (unit, figure, scale) in METRICS.items():
        for suffix, (ours, peer, limit) in VARIANTS.items():
            reasons = {}

            def value(name, key):
                found = contestants[name].value(figure)
                if found is None:
                    reasons[key] = contestants[name].reason
                return None if found is None else found / scale

            if metric == "peak memory" and suffix == " --sync":
                continue
            limits = {limit: value(limit, limit)}
            if metric == "peak memory":  # a ratio below 1 is a limit that did not hold
                limits = {"limit + start-up": LIMIT_MIB + start_up} if ours == "ours, limited" else {}
            peers = {peer: value(peer, peer)} if peer else {}
            rows.append(common.make_row("files", case + suffix, metric, unit, "lower", value(ours, "ours"),
                                        peers, limits, reasons))
    sizes = {key: contestants[key].size for key in ("ours", "llama.cpp")}
    sizes = {key: None if size is None else size / 1e6 for key, size in sizes.items()}
    missing = {key: contestants[key].reason for key, size in sizes.items() if size is None}
    rows.append(common.make_row("files", case, "output size", "MB", "lower", sizes["ours"],
                                {"llama.cpp": sizes["llama.cpp"]}, {}, missing))
    return rows


def run_case(bench, source, case, target, file_type):
    contestants = bench.contestants(source, target, file_type)
    common.say(f"{case}: {bench.rounds} rounds")
    # Warm means: in the page cache, and nothing of it still on its way to the disk.
    subprocess.run(["sync", source], check=True)
    subprocess.run(["cat", source], stdout=subprocess.DEVNULL, check=True)
    order = random.Random(0)
    for number in range(bench.rounds):
        last = number + 1 == bench.rounds
        # Who ran just before decides which pages the system has at hand, so the order changes every round.
        for name in order.sample(list(contestants), len(contestants)):
            contestants[name].run(keep=last and name in ("ours", "llama.cpp"))
    equal, reason = compare(contestants["ours"], contestants["llama.cpp"])
    for contestant in contestants.values():
        contestant.output.unlink(missing_ok=True)
    rows = rows_of(case, contestants, bench.measured(bench.lobit, "--version")["rss"] / (1 << 20))
    if equal is not None:
        rows[0]["bytes_equal"] = equal
    elif reason:
        rows[0].setdefault("reasons", {})["bytes_equal"] = reason
    return rows


def run(options):
    parent = Path(options.dir)
    parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="lobit-bench-", dir=parent) as name:
        bench = Bench(options, Path(name))
        common.require_space(parent, 6e9 / bench.divisor)
        sources = {}
        for dtype, target, file_type in CASES:
            case = f"{dtype}->{target}"
            if options.only not in case:
                continue
            if dtype not in sources:
                for path in sources.values():
                    path.unlink()
                sources = {dtype: bench.model(dtype)}
            rows += run_case(bench, sources[dtype], case, target, file_type)
    kind = common.text_of("findmnt", "-no", "FSTYPE", "-T", str(parent)) or "unknown"
    if kind == "tmpfs":
        common.say(f"{parent} lies in memory (tmpfs): give a folder on a disk with --dir")
    return rows, {"filesystem": kind}
