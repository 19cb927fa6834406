"""A transformer's allocations replayed: processor time and resident memory, against malloc and std::pmr."""

import random
import subprocess
from pathlib import Path

from bench import common
from bench.allocators import contestants

TRANSFORMER = ("concat", "paged")
REQUESTS = 80
QUICK_REQUESTS = 16
NEEDED_BYTES = 4 << 30  # the peak of the trace, and as much again for an allocator that keeps it all
SLOW_SECONDS = 3  # who takes longer in the first round does not run in the others
GOAL = 1.1
# (what is added to the case's name, the figure of a run that is divided by the live bytes)
RATIOS = [("peak", "peak"), ("mean", "mean"), ("at the end", "idle"), ("1 s later", "idle_later"),
          ("trimmed", "trimmed"), ("trimmed, {wait:g} s later", "trimmed_later")]
NO_TRIM = "has no call that gives memory back"


class Case:
    """One trace: the figures of every contestant, or the reason why it has none."""

    def __init__(self, program, trace, options):
        self.program = program
        self.name = Path(trace).name
        self.wait = options.wait if options.wait is not None else 0.5 if options.quick else 5
        self.arguments = ("--trace", trace, "--requests", QUICK_REQUESTS if options.quick else REQUESTS,
                          "--wait-seconds", self.wait)
        self.seconds = {contestant.name: {"time": [], "alone": []} for contestant in contestants.CONTESTANTS}
        self.memory = {}
        self.reasons = {}
        self.about = {}

    def run(self, contestant, measure):
        """The figures of one run, or None."""
        if contestant.name in self.reasons:
            return None
        try:
            result = contestants.run(self.program, contestant, *self.arguments, "--measure", measure,
                                     timeout=300 + self.wait)
        except contestants.Failure as failure:
            self.reasons[contestant.name] = str(failure)
            return None
        self.about = result
        return result

    def time(self, contestant):
        """A sample of both times, unless the contestant has shown that it takes long."""
        for measure, samples in self.seconds[contestant.name].items():
            if samples and samples[0] > SLOW_SECONDS:
                continue
            result = self.run(contestant, measure)
            if result:
                samples.append(result["cpu"])

    def row(self, name, metric, unit, value, goal=GOAL):
        """`value` takes a contestant's name; it returns a number, or raises contestants.Failure with the reason."""
        values, reasons = {}, dict(self.reasons)
        for contestant in contestants.CONTESTANTS:
            values[contestant.name] = None
            if contestant.name in reasons:
                continue
            try:
                values[contestant.name] = value(contestant.name)
            except contestants.Failure as failure:
                reasons[contestant.name] = str(failure)
        row = common.make_row("trace", name, metric, unit, "lower", values.pop("ours"), values, {}, reasons)
        return row | ({"goal": goal} if goal else {})

    def time_rows(self, metric, summary):
        tensors = self.about["blocks"] / 2
        return [
            self.row(self.name, f"{metric} of a replay", "ms", lambda name: 1e3 * summary(self.seconds[name]["time"])),
            self.row(self.name, f"{metric} without touching, per two blocks", "ns",
                     lambda name: 1e9 * summary(self.seconds[name]["alone"]) / tensors),
        ]

    def memory_rows(self):
        live = {"peak": self.about["peak_live"], "mean": None}

        def ratio(name, figure):
            found = self.memory[name]
            if figure == "mean":
                return found["mean_ratio"]
            if found[figure] is None:
                raise contestants.Failure(NO_TRIM)
            divisor = live.get(figure, self.about["live"])
            if divisor == 0:
                raise contestants.Failure("nothing is live at the end")
            return found[figure] / divisor

        def trim(name):
            if self.memory[name]["trim"] is None:
                raise contestants.Failure(NO_TRIM)
            return 1e3 * self.memory[name]["trim"]

        rows = [self.row(f"{self.name}, {label.format(wait=self.wait)}", "resident memory",
                         "multiples of the live bytes", lambda name, figure=figure: ratio(name, figure))
                for label, figure in RATIOS]
        return rows + [self.row(self.name, "time of trim", "ms", trim, goal=None)]


def traces(options):
    if options.from_trace:
        return [options.from_trace]
    return [name for name in TRANSFORMER if options.only in name]


def write(program, options):
    """Writes the one trace that is chosen."""
    chosen = traces(options)
    if len(chosen) != 1:
        raise common.BenchError(f"--write-trace: choose one trace with --only {' or --only '.join(TRANSFORMER)}")
    requests = QUICK_REQUESTS if options.quick else REQUESTS
    command = [program, "--trace", chosen[0], "--requests", str(requests), "--write", options.write_trace]
    if subprocess.run(command, check=False).returncode != 0:
        raise common.BenchError(f"{options.write_trace}: the trace could not be written")


def measure(case, rounds, order):
    for _ in range(rounds):
        for contestant in order.sample(contestants.CONTESTANTS, len(contestants.CONTESTANTS)):
            case.time(contestant)
    for contestant in order.sample(contestants.CONTESTANTS, len(contestants.CONTESTANTS)):
        result = case.run(contestant, "memory")
        if result:
            case.memory[contestant.name] = result


def run(options):
    program = common.build("lobit_bench_trace") / "bench" / "lobit_bench_trace"
    if options.write_trace:
        write(program, options)
        return [], {}
    if common.available_memory() < NEEDED_BYTES:
        raise common.BenchError(f"trace: {NEEDED_BYTES / 1e9:.1f} GB of free memory needed")
    rounds = 1 if options.quick else 3
    order = random.Random(0)
    cases = []
    for trace in traces(options):
        common.say(f"trace {trace}")
        case = Case(program, trace, options)
        measure(case, rounds, order)
        if not case.about:
            raise common.BenchError(f"{trace}: {next(iter(case.reasons.values()))}")
        about = case.about
        common.say(f"{about['blocks']} blocks, {about['peak_live'] / 1e6:.1f} MB live at most, "
                   f"{about['live'] / 1e6:.1f} MB at the end")
        cases.append(case)
    summaries = [("median time", common.median), ("least time", min)][:rounds]  # of one round both are the same
    rows = [row for metric, summary in summaries for case in cases for row in case.time_rows(metric, summary)]
    rows += [row for case in cases for row in case.memory_rows()]
    return rows, {"ours": cases[0].about["ours"]} if cases else {}
