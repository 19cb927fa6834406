#!/usr/bin/env python3
"""Writes README.md's first C++ program to a file, so that what is printed there is what is compiled.

Usage: tools/readme_program.py OUT.cc
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_LINES = 20


def main():
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    block = re.search(r"^```cpp\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    if not block:
        print("README.md has no ```cpp block", file=sys.stderr)
        return 1
    program = block.group(1)
    lines = program.count("\n")
    if lines > MAX_LINES:
        print(f"README.md's first program has {lines} lines, at most {MAX_LINES}", file=sys.stderr)
        return 1
    pathlib.Path(sys.argv[1]).write_text(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
