"""Tensor pools, cold and warm, on single sizes and on workloads: which pool is worth its memory."""

import json
import random
import statistics
import subprocess

from bench import common

KIB = 1 << 10
MIB = 1 << 20
SIZES = {"1 KiB": KIB, "16 KiB": 16 * KIB, "32 KiB": 32 * KIB, "64 KiB": 64 * KIB, "256 KiB": 256 * KIB,
         "1 MiB": MIB, "16 MiB": 16 * MIB}
WORKLOADS = ("decode", "prefill", "mixed")
OURS = "adaptive"
PEERS = ("standard", "pre-warmed", "hybrid pool", "malloc")
NO_POOL = "keeps no tensors"


def p99(values):
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def measured(program, contestant, what, value, count):
    command = [str(program), "--contestant", contestant, what, str(value), "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise common.BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def collect(program, cases, what, count, rounds):
    """{case: {contestant: [run of each round]}}; cases and contestants in a new random order every round."""
    order = random.Random(0)
    runs = {case: {name: [] for name in (OURS, *PEERS)} for case in cases}
    for number in range(rounds):
        common.say(f"pools {what[2:]}: round {number + 1} of {rounds}")
        turns = [(case, name) for case in cases for name in runs[case]]
        for case, name in order.sample(turns, len(turns)):
            runs[case][name].append(measured(program, name, what, cases[case], count))
    return runs


def row(case, metric, unit, values, better="lower"):
    """A row of {contestant: number, or the reason why there is none}."""
    reasons = {name: value for name, value in values.items() if isinstance(value, str)}
    numbers = {name: None if name in reasons else value for name, value in values.items()}
    if OURS in reasons:
        reasons["ours"] = reasons.pop(OURS)
    return common.make_row("pools", case, metric, unit, better, numbers.pop(OURS), numbers, {}, reasons)


def flat(runs, key):
    return [value for run in runs for value in run[key]]


def rows_of_sizes(runs):
    tables = [  # (metric, unit, units in a nanosecond, what is made of the runs of one contestant)
        ("cold, the first tensor allocated and touched, median", "us", 1e-3,
         lambda found: statistics.median(run["first"] for run in found)),
        ("cold, each of the next 15, median", "us", 1e-3, lambda found: statistics.median(flat(found, "others"))),
        ("cold, each of the next 15, p99", "us", 1e-3, lambda found: p99(flat(found, "others"))),
        ("warm, freed and allocated, median", "ns", 1, lambda found: statistics.median(flat(found, "pairs"))),
        ("warm, freed and allocated, p99", "ns", 1, lambda found: p99(flat(found, "pairs"))),
        ("warm, freed, allocated and touched, median", "ns", 1,
         lambda found: statistics.median(flat(found, "touched"))),
        ("warm, freed, allocated and touched, p99", "ns", 1, lambda found: p99(flat(found, "touched"))),
    ]
    creation = {name: 1e-3 * statistics.median(run["creation"] for case in runs.values() for run in case[name])
                for name in (OURS, *PEERS)}
    rows = [row("creation", "cold, the pool itself with what it takes ahead, median", "us", creation)]
    return rows + [
        row(case, metric, unit, {name: scale * summary(found) for name, found in contestants.items()})
        for metric, unit, scale, summary in tables for case, contestants in runs.items()]


def rows_of_workloads(runs):
    rows = []
    for metric, summary in (("median", statistics.median), ("p99", p99)):
        rows += [row(case, f"workload, one call, {metric}", "ns",
                     {name: summary(flat(found, "calls")) for name, found in contestants.items()})
                 for case, contestants in runs.items()]
    rows += [row(case, "workload, blocks that the pool had", "%",
                 {name: 100 * found[0]["hit_rate"] if found[0]["hit_rate"] >= 0 else NO_POOL
                  for name, found in contestants.items()}, better="higher")
             for case, contestants in runs.items()]
    rows += [row(case, "workload, most memory taken from the system", "MiB",
                 {name: found[0]["peak_bytes"] / MIB or "does not say" for name, found in contestants.items()})
             for case, contestants in runs.items()]
    for case, contestants in runs.items():
        for text in contestants[OURS][0]["recommendations"]:
            common.say(f"the adaptive pool on {case}: {text}")
    return rows


def run(options):
    program = common.build("lobit_bench_pools") / "bench" / "lobit_bench_pools"
    rounds = 2 if options.quick else 7
    sizes = {name: size for name, size in SIZES.items() if options.only in name}
    workloads = {name: name for name in WORKLOADS if options.only in name}
    rows = []
    if sizes:
        rows += rows_of_sizes(collect(program, sizes, "--bytes", 400 if options.quick else 4000, rounds))
    if workloads:
        rows += rows_of_workloads(collect(program, workloads, "--workload", 20 if options.quick else 100, rounds))
    return rows, {}
