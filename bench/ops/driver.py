"""Operations on tensors, on one thread: beside OpenBLAS, ggml's functions and the memory."""

import importlib.util
import json
import subprocess
from pathlib import Path

from bench import common

# Each prints {"simd", "cases": [{case, metric, unit, work, seconds: {contestant: s}}]}: `work` is what the
# unit counts, and contestants other than "ours" and those of LIMITS are peers.
PROGRAMS = ["lobit_bench_matmul"]
LIMITS = {"memory"}


def blas_library():
    """The OpenBLAS that NumPy's package brings, or None."""
    spec = importlib.util.find_spec("numpy")
    if spec is None:
        return None
    folder = Path(spec.submodule_search_locations[0]).parent / "numpy.libs"
    return next(iter(sorted(folder.glob("libscipy_openblas64_*"))), None)


def row_of(case, missing):
    rates = {name: case["work"] / seconds / 1e9 for name, seconds in case["seconds"].items() if seconds > 0}
    ours = rates.pop("ours", None)
    limits = {name: rates.pop(name) for name in list(rates) if name in LIMITS}
    reasons = {name: reason for name, reason in missing.items() if name not in rates}
    return common.make_row("ops", case["case"], case["metric"], case["unit"], "higher", ours, rates, limits, reasons)


def run(options):
    build = common.build(*PROGRAMS)
    ggml, reason = common.peer_library()
    blas = blas_library()
    missing = {} if ggml else {"ggml": reason}
    missing |= {} if blas else {"openblas": "NumPy's OpenBLAS is not installed"}
    arguments = ["--only", options.only]
    arguments += ["--quick"] if options.quick else []
    arguments += ["--simd", options.simd] if options.simd else []
    arguments += ["--peer", str(ggml)] if ggml else []
    arguments += ["--blas", str(blas)] if blas else []
    rows, simd = [], ""
    for program in PROGRAMS:
        command = [str(build / "bench" / program), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise common.BenchError(f"{' '.join(command)} ended with {done.returncode}")
        result = json.loads(done.stdout)
        simd = result["simd"]
        rows += [row_of(case, missing) for case in result["cases"]]
    return rows, {"simd": simd}
