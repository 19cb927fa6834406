"""The allocators that the memory benchmarks compare: how a process is made to use one, and why one is absent."""

import glob
import json
import os
import shutil
import signal
import subprocess
from typing import NamedTuple

# No block of its own mapping, no heap given back, huge pages: what a careful user of glibc can set.
TUNED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=18446744073709551615"
# What would change an allocator from outside: the start of the names of variables.
OUTSIDE = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "HEAPPROFILE", "HEAP_PROFILE_")
FOLDERS = ("/usr/lib/*-linux-gnu*", "/usr/lib64", "/usr/lib", "/usr/local/lib")


class Contestant(NamedTuple):
    """One allocator: `program` is its name for lobit_bench_*, `preload` is a library loaded before the C library.

    `variables` are set in its environment; `wrapper` is a command that runs the program, as its first words.
    """

    name: str
    program: str = "malloc"
    malloc: str = "glibc"
    preload: str = ""
    variables: dict = {}
    wrapper: tuple = ()


CONTESTANTS = [
    Contestant("ours", "ours"),
    Contestant("glibc"),
    Contestant("glibc tuned", variables={"GLIBC_TUNABLES": TUNED}),
    Contestant("mimalloc", malloc="mimalloc", preload="libmimalloc.so.2"),
    Contestant("jemalloc", malloc="jemalloc", preload="libjemalloc.so.2"),
    Contestant("tcmalloc", malloc="tcmalloc", preload="libtcmalloc_minimal.so.4"),
    Contestant("pmr sync", "pmr-sync"),
    Contestant("pmr unsync", "pmr-unsync"),
]
# What else the tables of the allocators show: ours by the interface that all resources share, and no allocator
# at all: a list of free blocks of one size for one thread, which shows what can be reached.
AS_RESOURCE = Contestant("as resource", "ours-as-resource")
FREE_LIST = Contestant("free list", "free-list")


class Failure(Exception):
    """A contestant could not run; the message is the reason in its rows."""


def find_preload(name):
    return next((path for folder in FOLDERS for path in sorted(glob.glob(f"{folder}/{name}"))), None)


def environment(contestant):
    """The environment in which a process uses that contestant."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith(OUTSIDE)}
    if contestant.preload:
        path = find_preload(contestant.preload)
        if path is None:
            raise Failure(f"{contestant.preload} is not installed (script/setup --bench)")
        settings["LD_PRELOAD"] = path
    return settings | contestant.variables


def output_of(command, variables, timeout, folder):
    """What a command that runs in a folder prints; Failure when it takes too long or goes wrong."""
    with subprocess.Popen(command, env=variables, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException as reason:
            os.killpg(process.pid, signal.SIGKILL)  # with what a wrapper has started
            if isinstance(reason, subprocess.TimeoutExpired):
                raise Failure(f"took longer than {timeout} s") from None
            raise
    if process.returncode != 0:
        raise Failure((errors.strip().splitlines() or [f"ended with {process.returncode}"])[-1])
    return output


def run(program, contestant, *arguments, timeout=120, folder=None):
    """The JSON object that one run of a benchmark program prints."""
    wrapper = contestant.wrapper
    if wrapper and shutil.which(wrapper[0]) is None:
        raise Failure(f"{wrapper[0]} is not installed (script/setup --bench)")
    command = [*wrapper, str(program), "--contestant", contestant.program, *map(str, arguments)]
    output = output_of(command, environment(contestant), timeout, folder)
    # A wrapper prints lines of its own around it.
    result = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    if result["malloc"] != contestant.malloc:
        raise Failure(f"runs on the malloc of {result['malloc']}")
    return result
