"""Tensors in files, shared memory and compressed, beside NumPy, safetensors, zstd and the system calls."""

import json
import subprocess
import tempfile
import time
from multiprocessing import shared_memory
from pathlib import Path

from bench import common


def timed(call, rounds):
    """Median processor time of this thread in a call, as the C++ program counts it."""
    call()
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return common.median(times)


def python_seconds(folder, mebibytes, rounds):
    """{name: seconds} of the same work in Python, and reasons for what is not there."""
    try:
        import numpy
    except ImportError:
        return {}, {"numpy": "numpy is not installed"}
    array = numpy.random.default_rng(1).normal(0, 0.02, (mebibytes * 64, 4096)).astype(numpy.float32)
    file = str(Path(folder, "python.npy"))
    found = {
        "numpy save": timed(lambda: numpy.save(file, array), rounds),
        "numpy load": timed(lambda: numpy.load(file), rounds),
        "numpy map, then touch": timed(lambda: numpy.load(file, mmap_mode="r").view()[:, ::1024].sum(), rounds),
    }
    segment = shared_memory.SharedMemory(create=True, size=array.nbytes)

    def attach():
        other = shared_memory.SharedMemory(name=segment.name, track=False)
        other.close()

    try:
        attach()
        found["python open"] = timed(attach, rounds)
    except TypeError:  # before Python 3.13 every attach registers the segment to be removed
        pass
    finally:
        segment.close()
        segment.unlink()
    try:
        from safetensors.numpy import load_file, save_file
    except ImportError:
        return found, {"safetensors": "safetensors is not installed"}
    file = str(Path(folder, "python.safetensors"))
    found["safetensors save"] = timed(lambda: save_file({"w": array}, file), rounds)
    found["safetensors load"] = timed(lambda: load_file(file), rounds)
    return found, {}


def merge(runs):
    """The medians over runs of [{case, bytes, seconds, ...}]."""
    merged = []
    for same in zip(*runs):
        case = dict(same[0])
        case["seconds"] = {name: common.median([c["seconds"][name] for c in same]) for name in case["seconds"]}
        merged.append(case)
    return merged


def file_rows(case, python, reasons):
    """GB/s of one direction, a row for each format."""
    name, rate = case["case"], {n: case["bytes"] / s / 1e9 for n, s in case["seconds"].items()}
    peers = {n: case["bytes"] / python[f"{n} {name}"] / 1e9 for n in ("numpy", "safetensors")
             if f"{n} {name}" in python}
    calls = [n for n in rate if n.startswith(("read", "write"))]
    return [
        common.make_row("storage", f"{name} {form}", "rate", "GB/s", "higher", rate[form],
                        {n: p for n, p in peers.items() if form in ("npy", "safetensors", "gguf")},
                        {n: rate[n] for n in calls}, reasons)
        for form in rate if form not in calls
    ]


def time_rows(case, python):
    seconds = case["seconds"]
    size = f"{case['bytes'] >> 20} MiB"
    if case["case"] == "map":
        return [
            common.make_row("storage", f"map {size}", "time", "us", "lower", seconds["map"] * 1e6),
            common.make_row("storage", f"map {size}, then touch each page", "time", "us", "lower",
                            seconds["map, then touch"] * 1e6,
                            {"load, then touch": seconds["load, then touch"] * 1e6,
                             "numpy": python.get("numpy map, then touch", 0) * 1e6 or None}),
        ]
    return [
        common.make_row("storage", f"open shared {size}", "time", "us", "lower", seconds["open"] * 1e6,
                        {"copy": seconds["copy"] * 1e6,
                         "python": python.get("python open", 0) * 1e6 or None}),
        common.make_row("storage", f"share {size}, create and fill", "time", "us", "lower",
                        seconds["create and fill"] * 1e6, {}, {"copy": seconds["copy"] * 1e6}),
    ]


def compression_rows(case):
    rate = {n: case["bytes"] / s / 1e9 for n, s in case["seconds"].items()}
    name = case["case"]
    return [
        common.make_row("storage", name, "compression ratio", "times", "higher", case["ratio"],
                        {"zstd -1": case["zstd_ratio"]}),
        common.make_row("storage", f"compress {name}", "compression", "GB/s", "higher", rate["compress"],
                        {"zstd -1": rate["zstd"]}, {"with the probe": rate["probe and decide"]}),
        common.make_row("storage", f"restore {name}", "compression", "GB/s", "higher", rate["restore"],
                        {"zstd -1": rate["zstd restore"]}),
    ]


def run(options):
    program = common.build("lobit_bench_storage") / "bench" / "lobit_bench_storage"
    rounds, mebibytes, turns = (3, 32, 1) if options.quick else (5, 128, 3)
    Path(options.dir).mkdir(parents=True, exist_ok=True)
    common.require_space(options.dir, 12 * mebibytes << 20)
    runs, pythons, reasons = [], [], {}
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        command = [str(program), "--dir", folder, "--rounds", str(rounds), "--mib", str(mebibytes)]
        for _ in range(turns):
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode != 0:
                raise common.BenchError(f"{' '.join(command)} ended with {done.returncode}")
            runs.append(json.loads(done.stdout)["cases"])
            seconds, reasons = python_seconds(folder, mebibytes, rounds)
            pythons.append(seconds)
    python = {name: common.median([p[name] for p in pythons]) for name in pythons[0]}
    rows = []
    for case in merge(runs):
        if case["case"] in ("save", "load"):
            rows += file_rows(case, python, reasons)
        elif case["case"] in ("map", "share"):
            rows += time_rows(case, python)
        else:
            rows += compression_rows(case)
    return [row for row in rows if options.only in row["case"]], {}
