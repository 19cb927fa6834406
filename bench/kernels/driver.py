"""Rate of every codec on one thread, against ggml's row functions and the memory; rate and error of every method."""

import json
import subprocess

from bench import common


def run(options):
    program = common.build("lobit_bench_kernels") / "bench" / "lobit_bench_kernels"
    library, reason = common.peer_library()
    command = [str(program), "--only", options.only]
    command += ["--quick"] if options.quick else []
    command += ["--simd", options.simd] if options.simd else []
    command += ["--peer", str(library)] if library else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise common.BenchError(f"{' '.join(command)} ended with {done.returncode}")
    result = json.loads(done.stdout)
    for row in result["rows"]:
        for name in row.get("reasons", {}):
            if name.startswith("ggml") and library is None:
                row["reasons"][name] = reason
    return result["rows"], {"simd": result["simd"]}
