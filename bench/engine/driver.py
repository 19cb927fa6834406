"""The conversion engine: large tensors, a thousand small ones, and what a call costs, beside ggml and NumPy."""

import json
import statistics
import subprocess
import time

from bench import common


def numpy_seconds(count, shape, rounds):
    """Median time of `count` conversions F32 -> F16, or the reason why there is none."""
    try:
        import numpy
    except ImportError:
        return None, "numpy is not installed"
    arrays = [numpy.random.default_rng(i).normal(0, 0.02, shape).astype(numpy.float32) for i in range(count)]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for array in arrays:
            array.astype(numpy.float16)
        times.append(time.perf_counter() - start)
    return statistics.median(times), None


def throughput_rows(case, rounds):
    """GB/s of source bytes."""
    rate = {name: case["bytes"] / seconds / 1e9 for name, seconds in case["seconds"].items() if seconds > 0}
    ours = rate.pop("convert", None) or rate.pop("batch", None)
    reasons = {}
    if "copy, then in place" in rate:
        alone = case["seconds"]["copy, then in place"] - case["seconds"]["copy"]
        rate.pop("copy, then in place")
        rate.pop("copy")
        rate["in place"] = case["bytes"] / alone / 1e9 if alone > 0 else None
    if "f16" in case["case"]:
        shape, count = ((64, 64), 1000) if case["count"] == 1000 else ((2048, 2048), 1)
        seconds, reason = numpy_seconds(count, shape, rounds)
        rate["numpy"] = case["bytes"] / seconds / 1e9 if seconds else None
        if reason:
            reasons["numpy"] = reason
    return common.make_row("engine", case["case"], "source bytes", "GB/s", "higher", ours, rate, {}, reasons)


def run(options):
    program = common.build("lobit_bench_engine") / "bench" / "lobit_bench_engine"
    library, _ = common.peer_library()
    rounds = 3 if options.quick else 9
    command = [str(program), "--rounds", str(rounds)]
    command += ["--peer", str(library)] if library else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise common.BenchError(f"{' '.join(command)} ended with {done.returncode}")
    rows = []
    for case in json.loads(done.stdout)["cases"]:
        if options.only not in case["case"]:
            continue
        if "kernel alone" in case["seconds"]:
            nanoseconds = {name: seconds / case["count"] * 1e9 for name, seconds in case["seconds"].items()}
            ours = nanoseconds["convert"] - nanoseconds["kernel alone"]
            rows.append(common.make_row("engine", case["case"], "a call over the kernel", "ns", "lower", ours,
                                        {"result alone": nanoseconds["result alone"]}, {"goal": 200}))
            continue
        rows.append(throughput_rows(case, rounds))
        if "predicted" in case:
            rows.append(common.make_row("engine", case["case"], "predicted time", "ms", "lower",
                                        case["predicted"] * 1e3,
                                        {"measured": case["seconds"]["convert"] * 1e3}))
    return rows, {}
