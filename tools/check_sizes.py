#!/usr/bin/env python3
"""Fails when a file is longer than a stranger can hold in mind."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMITS = [  # the first suffix that fits decides
    ("-inl.h", 800),
    (".cu", 800),
    (".cuh", 800),
    (".h", 300),
    ("_test.cc", 900),
    ("_bench.cc", 900),
    (".cc", 500),
    (".py", 500),
]


def limit_of(path):
    return next((limit for suffix, limit in LIMITS if path.name.endswith(suffix)), None)


def main():
    too_long = []
    for top in ("lobit", "tests", "bench", "tools"):
        for path in sorted((ROOT / top).rglob("*")):
            limit = limit_of(path)
            if limit is None or not path.is_file():
                continue
            lines = path.read_bytes().count(b"\n")
            if lines > limit:
                too_long.append(f"{path.relative_to(ROOT)}: {lines} lines, at most {limit}")
    print("\n".join(too_long) if too_long else "sizes: every file is within its limit")
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
