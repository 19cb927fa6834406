#!/usr/bin/env python3
"""Writes a document's first C++ program to a file, so that what is printed there is what is compiled.

Usage: tools/document_program.py DOCUMENT.md OUT.cc [MOST_LINES]
"""

import pathlib
import re
import sys


def main():
    if len(sys.argv) not in (3, 4):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    document = pathlib.Path(sys.argv[1])
    block = re.search(r"^```cpp\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
    if not block:
        print(f"{document} has no ```cpp block", file=sys.stderr)
        return 1
    program = block.group(1)
    lines = program.count("\n")
    if len(sys.argv) == 4 and lines > int(sys.argv[3]):
        print(f"{document}'s first program has {lines} lines, at most {sys.argv[3]}", file=sys.stderr)
        return 1
    pathlib.Path(sys.argv[2]).write_text(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
