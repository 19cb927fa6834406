"""Operations on tensors, on one thread: beside NumPy, its OpenBLAS, ggml's functions and the memory."""

import importlib.util
import json
import statistics
import subprocess
import time
from pathlib import Path

from bench import common

# Contestants that are no program but what the machine allows.
LIMITS = {"memory"}


def blas_library():
    """The OpenBLAS that NumPy's package brings, or None."""
    spec = importlib.util.find_spec("numpy")
    if spec is None:
        return None
    folder = Path(spec.submodule_search_locations[0]).parent / "numpy.libs"
    return next(iter(sorted(folder.glob("libscipy_openblas64_*"))), None)


def best_of(call, rounds):
    """Median seconds of a call that is repeated for at least a millisecond."""
    call()
    start = time.perf_counter()
    call()
    repeats = max(1, round(1e-3 / max(1e-9, time.perf_counter() - start)))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)


def numpy_elementwise(np, case):
    """What NumPy does for a case of lobit_bench_elementwise, or None."""
    what, shape = case["case"].split(", [")
    rows, columns = (int(n) for n in shape.rstrip("]").split(","))
    rng = np.random.default_rng(1)
    a, b, out = (rng.uniform(0.1, 1, (rows, columns)).astype(np.float32) for _ in range(3))
    turned = np.ascontiguousarray(b.T).T if rows != columns else b.T
    row, column = b[:1].copy(), b[:, :1].copy()
    half, other = a.astype(np.float16), b.astype(np.float16)
    mask = a < b
    calls = {
        "a + b": lambda: np.add(a, b, out), "a += b": lambda: np.add(a, b, a),
        "a + transposed b": lambda: np.add(a, turned, out), "a + row": lambda: np.add(a, row, out),
        "a + column": lambda: np.add(a, column, out), "a + 1": lambda: np.add(a, np.float32(1), out),
        "a + b in f16": lambda: np.add(half, other), "a < 0": lambda: np.less(a, 0),
        "where": lambda: np.where(mask, a, np.float32(0)), "relu": lambda: np.maximum(a, 0, out),
        "exp": lambda: np.exp(a, out), "log": lambda: np.log(a, out), "sqrt": lambda: np.sqrt(a, out),
        "tanh": lambda: np.tanh(a, out), "abs": lambda: np.abs(a, out),
    }
    return calls.get(what)


def numpy_reduce(np, case):
    """What NumPy does for a case of lobit_bench_reduce, or None."""
    values = np.random.default_rng(1).normal(0, 1, case["shape"]).astype(np.float32)
    axis = None if case["axis"] < 0 else case["axis"]

    def softmax():
        powers = np.exp(values - values.max(axis, keepdims=True))
        powers /= powers.sum(axis, keepdims=True)

    def rms_norm():
        return values / np.sqrt(np.mean(values * values, axis, keepdims=True) + np.float32(1e-5))

    if case["op"] in ("softmax", "rms_norm"):
        return {"softmax": softmax, "rms_norm": rms_norm}[case["op"]]
    function = getattr(np, case["op"], None)
    return function and (lambda: function(values, axis))


def add_numpy(cases, call_of, rounds):
    """Puts NumPy's seconds beside ours; the reason why there are none otherwise."""
    try:
        import numpy
    except ImportError:
        return "numpy is not installed"
    for case in cases:
        call = call_of(numpy, case)
        if call is not None:
            case["seconds"]["numpy"] = best_of(call, rounds)
    return None


def from_program(name, arguments):
    command = [str(common.build(name) / "bench" / name), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise common.BenchError(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def matmul(options, missing):
    ggml, reason = common.peer_library()
    blas = blas_library()
    missing |= {} if ggml else {"ggml": reason}
    missing |= {} if blas else {"openblas": "NumPy's OpenBLAS is not installed"}
    arguments = ["--only", options.only]
    arguments += ["--quick"] if options.quick else []
    arguments += ["--simd", options.simd] if options.simd else []
    arguments += ["--peer", str(ggml)] if ggml else []
    arguments += ["--blas", str(blas)] if blas else []
    return from_program("lobit_bench_matmul", arguments)


def reduce(options, missing):
    arguments = ["--only", options.only] + (["--quick"] if options.quick else [])
    arguments += ["--simd", options.simd] if options.simd else []
    result = from_program("lobit_bench_reduce", arguments)
    reason = add_numpy(result["cases"], numpy_reduce, 3 if options.quick else 9)
    missing |= {"numpy": reason} if reason else {}
    return result


def elementwise(options, missing):
    arguments = ["--rounds", "3" if options.quick else "9", "--only", options.only]
    arguments += ["--simd", options.simd] if options.simd else []
    result = from_program("lobit_bench_elementwise", arguments)
    reason = add_numpy(result["cases"], numpy_elementwise, 3 if options.quick else 9)
    missing |= {"numpy": reason} if reason else {}
    return result


def row_of(case, missing):
    rates = {name: case["work"] / seconds / 1e9 for name, seconds in case["seconds"].items() if seconds > 0}
    ours = rates.pop("ours", None)
    limits = {name: rates.pop(name) for name in list(rates) if name in LIMITS}
    reasons = {name: reason for name, reason in missing.items() if name not in rates}
    return common.make_row("ops", case["case"], case["metric"], case["unit"], "higher", ours, rates, limits, reasons)


def run(options):
    rows, simd = [], ""
    for program in (elementwise, reduce, matmul):
        missing = {}
        result = program(options, missing)
        simd = result["simd"]
        rows += [row_of(case, missing) for case in result["cases"]]
    return rows, {"simd": simd}
