"""The allocators that the memory benchmarks compare: how a process is made to use one, and why one is absent."""

import glob
import json
import os
import subprocess
from typing import NamedTuple

# No block of its own mapping, no heap given back, huge pages: what a careful user of glibc can set.
TUNED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=18446744073709551615"
FOLDERS = ("/usr/lib/*-linux-gnu*", "/usr/lib64", "/usr/lib", "/usr/local/lib")


class Contestant(NamedTuple):
    """One allocator: `program` is its name for lobit_bench_*, `preload` is a library loaded before the C library."""

    name: str
    program: str = "malloc"
    malloc: str = "glibc"
    preload: str = ""
    tunables: str = ""


CONTESTANTS = [
    Contestant("ours", "ours"),
    Contestant("glibc"),
    Contestant("glibc tuned", tunables=TUNED),
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
    settings = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "GLIBC_TUNABLES")}
    if contestant.preload:
        path = find_preload(contestant.preload)
        if path is None:
            raise Failure(f"{contestant.preload} is not installed (script/setup --bench)")
        settings["LD_PRELOAD"] = path
    if contestant.tunables:
        settings["GLIBC_TUNABLES"] = contestant.tunables
    return settings


def run(program, contestant, *arguments, timeout=120):
    """The JSON object that one run of a benchmark program prints."""
    command = [str(program), "--contestant", contestant.program, *map(str, arguments)]
    try:
        done = subprocess.run(command, env=environment(contestant), capture_output=True, text=True, check=False,
                              timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failure(f"took longer than {timeout} s") from None
    if done.returncode != 0:
        message = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise Failure(message[-1])
    result = json.loads(done.stdout)
    if result["malloc"] != contestant.malloc:
        raise Failure(f"runs on the malloc of {result['malloc']}")
    return result
