"""Time of one allocate and deallocate in seven patterns, against malloc implementations and std::pmr."""

import random

from bench import common
from bench.allocators import contestants

KIB = 1 << 10
MIB = 1 << 20
SIZES = [64, KIB, 16 * KIB, 32 * KIB, 256 * KIB, MIB, 4 * MIB, 64 * MIB]
SMALLEST_FILLED = 256 * KIB  # below it, the memory written costs more than what is measured
PATTERNS = ["pair", "burst", "replace", "hand-over", "parallel", "pair-filled", "replace-filled"]
TWO_THREADS = ("hand-over", "parallel")
# Of blocks that live at a time: bytes in all, and how many at most up to a MiB and above.
LIVE_BYTES = 1 << 30
QUICK_LIVE_BYTES = 1 << 28
LIVE_BLOCKS = 1000
LIVE_LARGE_BLOCKS = 256
GOAL = 1.1
EXTRAS = [contestants.AS_RESOURCE, contestants.FREE_LIST]


def size_name(size):
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB" if size >= KIB else f"{size} B"


def cases(only):
    """[(name, pattern, size)] in the order of the tables."""
    every = [(f"{pattern} {size_name(size)}", pattern, size) for pattern in PATTERNS for size in SIZES
             if size >= SMALLEST_FILLED or not pattern.endswith("filled")]
    return [case for case in every if only in case[0]]


def live_blocks(size, most_bytes):
    """How many blocks of a size may live: fewer when the machine has less than four times their memory."""
    limit = min(most_bytes, common.available_memory() // 4)
    return max(2, min(LIVE_BLOCKS if size <= MIB else LIVE_LARGE_BLOCKS, limit // size))


class Case:
    """One pattern at one size: the samples of every contestant, or the reason why it has none."""

    def __init__(self, name, pattern, size, field, most_bytes):
        self.name = name
        self.pattern = pattern
        self.size = size
        self.live = live_blocks(size, most_bytes)
        self.samples = {contestant.name: [] for contestant in field}
        self.reasons = {}

    def run(self, program, contestant, sampling):
        if contestant.name in self.reasons:
            return None
        if self.pattern in TWO_THREADS and contestant.program in ("pmr-unsync", "free-list"):
            self.reasons[contestant.name] = "for one thread only"
            return None
        try:
            result = contestants.run(program, contestant, "--pattern", self.pattern, "--bytes", self.size,
                                     "--live", self.live, *sampling)
        except contestants.Failure as failure:
            self.reasons[contestant.name] = str(failure)
            return None
        self.samples[contestant.name] += result["ns"]
        return result["ours"]

    def row(self, metric, summary):
        values = {name: None if name in self.reasons else summary(samples)
                  for name, samples in self.samples.items()}
        limits = {extra.name: values.pop(extra.name) for extra in EXTRAS}
        row = common.make_row("allocators", self.name, metric, "ns", "lower", values.pop("ours"), values, limits,
                              self.reasons)
        return row | {"goal": GOAL}


def run(options):
    program = common.build("lobit_bench_allocators") / "bench" / "lobit_bench_allocators"
    field = [*contestants.CONTESTANTS, *EXTRAS]
    rounds = 1 if options.quick else 3
    sampling = ("--samples", 3, "--sample-seconds", 0.002) if options.quick else \
        ("--samples", 7, "--sample-seconds", 0.01)
    order = random.Random(0)
    measured, ours = [], ""
    for name, pattern, size in cases(options.only):
        common.say(name)
        case = Case(name, pattern, size, field, QUICK_LIVE_BYTES if options.quick else LIVE_BYTES)
        for _ in range(rounds):
            # Who ran just before decides which pages and which clock rate the next one finds.
            for contestant in order.sample(field, len(field)):
                ours = case.run(program, contestant, sampling) or ours
        measured.append(case)
    rows = [case.row("median time", common.median) for case in measured]
    rows += [case.row("least time", min) for case in measured]
    return rows, {"ours": ours}
