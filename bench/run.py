"""script/bench: runs benchmarks, prints their tables, writes JSON and HTML."""

import argparse
import sys

from bench import common
from bench.allocators import driver as allocators
from bench.engine import driver as engine
from bench.files import driver as files
from bench.kernels import driver as kernels
from bench.ops import driver as ops
from bench.pools import driver as pools
from bench.storage import driver as storage
from bench.trace import driver as trace
from bench.tracking import driver as tracking

BENCHES = {"kernels": kernels, "files": files, "allocators": allocators, "trace": trace,
           "pools": pools, "tracking": tracking, "engine": engine, "ops": ops, "storage": storage}


def parse():
    listing = "\n".join(f"  {name:12}{bench.__doc__.splitlines()[0]}" for name, bench in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="script/bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Measures lobit against its peers and the machine's limits.\n\nbenchmarks:\n{listing}\n"
                    "  all         every one of them")
    parser.add_argument("name", choices=[*BENCHES, "all"], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a smaller model, fewer requests")
    parser.add_argument("--json", metavar="FILE", help="write {machine, commit, rows}")
    parser.add_argument("--html", metavar="FILE", help="write the tables as one page")
    parser.add_argument("--only", default="", metavar="PART", help="only cases whose name holds PART")
    parser.add_argument("--simd", default="", metavar="LEVEL", help="kernels, ops: force an instruction set")
    parser.add_argument("--dir", default=str(common.BUILD), metavar="FOLDER",
                        help="files: where the models lie while it runs, about 6 GB on a disk")
    parser.add_argument("--lobit", metavar="PROGRAM", help="files: measure this program instead of the tree's")
    parser.add_argument("--wait", type=float, metavar="SECONDS",
                        help="trace: how long after a trim the memory is looked at again")
    parser.add_argument("--from-trace", default="", metavar="FILE", help="trace: replay a recorded one instead")
    parser.add_argument("--write-trace", default="", metavar="FILE",
                        help="trace: write the one that --only chooses, and measure nothing")
    return parser.parse_args()


def main():
    options = parse()
    rows, facts = [], {}
    try:
        for name in BENCHES if options.name == "all" else [options.name]:
            bench_rows, bench_facts = BENCHES[name].run(options)
            rows += bench_rows
            facts |= bench_facts
    except common.BenchError as error:
        common.say(f"script/bench: {error}")
        return 1
    result = {"machine": common.machine(facts), "commit": common.commit(), "rows": rows}
    common.print_tables(rows)
    if options.json:
        common.write_json(options.json, result)
    if options.html:
        common.write_html(options.html, result)
    return 1 if any(row.get("bytes_equal") is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
