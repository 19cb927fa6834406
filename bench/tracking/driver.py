"""What tracking adds to an allocation, in time and memory, at each level, beside profilers of memory."""

import random
import tempfile
from typing import NamedTuple

from bench import common
from bench.allocators import contestants
from bench.allocators.contestants import Contestant

KIB = 1 << 10
MIB = 1 << 20
SIZES = {"64 B": (64, 1000), "32 KiB": (32 * KIB, 1000), "1 MiB": (MIB, 64)}  # bytes of a block, blocks a thread
THREADS = {"1 thread": 1, "2 threads": 2}
TRACES = ("concat", "paged")
NEEDED_BYTES = 1 << 30  # six pools with two threads' blocks of 1 MiB
OURS = Contestant("ours", "ours")


class Level(NamedTuple):
    """A level of tracking: the table it stands in, and what it may add to a pair and to the memory at most."""

    name: str
    table: str
    goal_ns: float | None
    goal_percent: float | None


COUNTING = "time that counting adds to a pair"
SAMPLING = "time that records of some blocks add to a pair"
RECORDING = "time that records of all blocks add to a pair"
LEVELS = [
    Level("none", COUNTING, 0.5, None),
    Level("basic", COUNTING, 2, 0.1),
    Level("standard", SAMPLING, 10, 0.5),
    Level("detailed, no stacks", RECORDING, None, 1),
    Level("detailed", RECORDING, 130, 1),
]


class Profiler(NamedTuple):
    """A peer of a level: the allocator as it is, and the same one profiled."""

    level: str
    plain: Contestant
    profiled: Contestant


def jemalloc(name, lg_sample):
    # Without abort_conf a library that was built without profiling would run on, and add nothing.
    return JEMALLOC._replace(name=name, variables={
        "MALLOC_CONF": f"abort_conf:true,prof:true,lg_prof_sample:{lg_sample}"})


GLIBC = Contestant("glibc")
JEMALLOC = Contestant("jemalloc", malloc="jemalloc", preload="libjemalloc.so.2")
TCMALLOC = Contestant("tcmalloc", malloc="tcmalloc", preload="libtcmalloc.so.4")
PROFILERS = [
    Profiler("standard", JEMALLOC, jemalloc("jemalloc, every 512 KiB", 19)),
    Profiler("standard", TCMALLOC, TCMALLOC._replace(
        name="tcmalloc, every 512 KiB", variables={"TCMALLOC_SAMPLE_PARAMETER": str(512 * KIB)})),
    Profiler("detailed", JEMALLOC, jemalloc("jemalloc, all", 0)),
    # It records, but writes no profile while it is measured, as the others do.
    Profiler("detailed", TCMALLOC, TCMALLOC._replace(name="tcmalloc, all", variables={
        "HEAPPROFILE": "profile", "HEAP_PROFILE_ALLOCATION_INTERVAL": "0", "HEAP_PROFILE_INUSE_INTERVAL": "0"})),
    Profiler("detailed", GLIBC, GLIBC._replace(name="heaptrack", wrapper=("heaptrack", "-o", "profile"))),
]
PLAIN = [GLIBC, JEMALLOC, TCMALLOC]


class Case:
    """One size with some threads: of every round the median time of a pair, by level and by contestant."""

    def __init__(self, size, threads):
        self.name = f"{size}, {threads}"
        block, live = SIZES[size]
        self.arguments = ("--bytes", block, "--live", live, "--threads", THREADS[threads])
        self.rounds = {}  # {"pool", a level or a contestant's name: [nanoseconds]}
        self.reasons = {}

    def run(self, program, contestant, sampling):
        if contestant.name in self.reasons:
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                result = contestants.run(program, contestant, *self.arguments, *sampling, timeout=60, folder=folder)
        except contestants.Failure as failure:
            if contestant is OURS:
                raise common.BenchError(f"tracking {self.name}: {failure}") from None
            no_profiling = "abort_conf" in str(failure)
            self.reasons[contestant.name] = "is built without profiling" if no_profiling else str(failure)
            return
        for series, samples in result["ns"].items():
            name = series if contestant is OURS else contestant.name
            self.rounds.setdefault(name, []).append(common.median(samples))

    def added(self, name, plain):
        """How much more a pair takes: both of a round ran close together, so rounds are compared one by one."""
        return common.median([more - less for more, less in zip(self.rounds[name], self.rounds[plain])])

    def level_row(self, level):
        peers, reasons = {}, {}
        for _, plain, profiled in (profiler for profiler in PROFILERS if profiler.level == level.name):
            reason = self.reasons.get(plain.name) or self.reasons.get(profiled.name)
            peers[profiled.name] = None if reason else self.added(profiled.name, plain.name)
            if reason:
                reasons[profiled.name] = reason
        return common.make_row("tracking", f"{level.name}, {self.name}", level.table, "ns", "lower",
                               self.added(level.name, "pool"), peers, goal(level.goal_ns), reasons)

    def plain_row(self):
        peers = {plain.name: common.median(self.rounds.get(plain.name)) for plain in PLAIN}
        reasons = {name: self.reasons[name] for name in peers if name in self.reasons}
        return common.make_row("tracking", self.name, "time of a pair without tracking", "ns", "lower",
                               common.median(self.rounds["pool"]), peers, {}, reasons)


def goal(value):
    return {} if value is None else {"goal": value}


def measure(program, cases, options):
    field = [OURS, *PLAIN, *(profiler.profiled for profiler in PROFILERS)]
    rounds = 1 if options.quick else 5
    sampling = ("--samples", 5, "--sample-seconds", 0.005 if options.quick else 0.02)
    order = random.Random(0)
    for number in range(rounds):
        for case in cases:
            common.say(f"tracking {case.name}: round {number + 1} of {rounds}")
            for contestant in order.sample(field, len(field)):
                case.run(program, contestant, sampling)


def memory_rows(program):
    try:
        found = contestants.run(program, OURS, "--overhead")["overhead"]
    except contestants.Failure as failure:
        raise common.BenchError(f"tracking --overhead: {failure}") from None

    def percent(level, trace):
        figures = found[trace][level.name]
        return 100 * (figures["records"] + figures["stacks"]) / figures["live"]

    return [common.make_row("tracking", f"{level.name}, {trace}", "memory of tracking by the most live bytes", "%",
                            "lower", percent(level, trace), {}, goal(level.goal_percent))
            for level in LEVELS for trace in TRACES]


def run(options):
    program = common.build("lobit_bench_tracking") / "bench" / "lobit_bench_tracking"
    if common.available_memory() < NEEDED_BYTES:
        raise common.BenchError(f"tracking: {NEEDED_BYTES / 1e9:.1f} GB of free memory needed")

    def chosen(what):
        return any(options.only in f"{level.name}, {what}" for level in LEVELS)

    every = (Case(size, threads) for size in SIZES for threads in THREADS)
    cases = [case for case in every if chosen(case.name)]
    measure(program, cases, options)
    rows = [case.plain_row() for case in cases]
    rows += [case.level_row(level) for level in LEVELS for case in cases]
    if any(chosen(trace) for trace in TRACES):
        rows += memory_rows(program)
    return [row for row in rows if options.only in row["case"]], {}
