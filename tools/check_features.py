#!/usr/bin/env python3
"""Fails when docs/features.md names a header, test or bench that does not exist, or lacks a row.

A row is `| id | capability | status | header | test | bench |`. In the last three columns, names stand in
backquotes, several after each other with commas: headers and benches are paths; a test is
`Subject.Fact` of a *_test.cc, or a path, or `path::name` with a name that the file contains. A dash is none.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# How many capabilities each area has, numbered from 01.
AREAS = {
    "CA": 17, "CB": 39, "CC": 21, "CD": 29, "MA": 18, "MB": 17, "MC": 45,
    "PA": 18, "PB": 45, "TA": 38, "QA": 31, "FC": 37,
}
ROW = re.compile(r"^\| ([A-Z]{2}\d{2}) \|(.*)\|$", re.MULTILINE)
TEST = re.compile(r"^(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", re.MULTILINE)
STATUS = re.compile(r"works|open|replaced by \S.*|measured in bench \S.*|refused: \S.*")


def gtest_names():
    names = set()
    for top in ("lobit", "tests"):
        for path in (ROOT / top).rglob("*_test.cc"):
            names.update(f"{subject}.{fact}" for subject, fact in TEST.findall(path.read_text()))
    return names


def exists(name, tests):
    """Whether what a row names is there. `tests` is empty for columns that hold paths."""
    if name in tests:
        return True
    path, _, inside = name.partition("::")
    file = ROOT / path
    if not file.exists():
        return False
    return not inside or re.search(rf"\b{re.escape(inside)}\b", file.read_text()) is not None


def row_problems(row, columns, tests):
    if len(columns) != 5:
        yield f"{row}: {len(columns) + 1} columns instead of 6"
        return
    _, status, header, test, bench = columns
    if not STATUS.fullmatch(status):
        yield f"{row}: '{status}' is none of the statuses"
    if status == "works" and (header == "-" or test == "-"):
        yield f"{row}: works, but names no header or no test"
    if status.startswith("measured") and bench == "-":
        yield f"{row}: measured, but names no bench"
    for column, known in ((header, ()), (test, tests), (bench, ())):
        names = re.findall(r"`([^`]+)`", column)
        if column != "-" and not names:
            yield f"{row}: '{column}' names nothing in backquotes"
        for name in names:
            if not exists(name, known):
                yield f"{row}: {name} does not exist"


def main():
    tests = gtest_names()
    rows = [(row, [c.strip() for c in rest.split("|")])
            for row, rest in ROW.findall((ROOT / "docs/features.md").read_text())]
    problems = [problem for row, columns in rows for problem in row_problems(row, columns, tests)]
    found = [row for row, _ in rows]
    expected = [f"{area}{number:02}" for area, count in AREAS.items() for number in range(1, count + 1)]
    problems += [f"{row}: missing" for row in expected if row not in found]
    problems += [f"{row}: unknown" for row in found if row not in expected]
    problems += [f"{row}: {found.count(row)} times" for row in sorted(set(found)) if found.count(row) > 1]
    works = sum(columns[1] == "works" for _, columns in rows if len(columns) == 5)
    print("\n".join(problems) if problems else f"features: {works} of {len(rows)} work, all names exist")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
