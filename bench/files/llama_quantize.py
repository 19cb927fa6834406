"""llama_quantize.py IN OUT FILE_TYPE THREADS: what llama-quantize --pure does, timed from inside.

Prints {wall, cpu, rss} of the call to llama_model_quantize alone: the interpreter's start is not counted, and rss is
the process's peak less what was resident before the call.
"""

import ctypes
import json
import os
import resource
import sys
import time

import llama_cpp


@llama_cpp.llama_log_callback
def silent(_level, _text, _user_data):
    pass


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main():
    source, output, file_type, threads = sys.argv[1:5]
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = int(file_type)
    params.nthread = int(threads)
    params.pure = True
    resident, cpu, wall = resident_bytes(), time.process_time(), time.perf_counter()
    code = llama_cpp.llama_model_quantize(source.encode(), output.encode(), ctypes.byref(params))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "rss": peak - resident}))
    return code


if __name__ == "__main__":
    sys.exit(main())
