#!/usr/bin/env python3
"""Fails when a file of lobit/ includes what its floor may not, or a module's DEPS say something else.

A file includes its own module and modules of lower floors; neighbours on one floor never meet. lobit/lobit.h,
the table of contents, is for programs outside. Public headers do not leak the libraries that only sources use.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOORS = [
    ["base"],
    ["dtype", "io"],
    ["kernels", "device"],
    ["memory"],
    ["tensor"],
    ["ops", "format"],
    ["quant"],
    ["convert"],
    ["precision", "loader"],
    ["model"],
    ["report"],
    ["cli"],
]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
SOURCES_ONLY = ("fmt/", "nlohmann/", "pcre2", "xxhash")


def include_problems(path, module, used):
    """Yields what is wrong with the includes of one file; adds the modules it includes to `used`."""
    for name in INCLUDE.findall(path.read_text()):
        if name.startswith(SOURCES_ONLY) and path.suffix == ".h" and not path.stem.endswith("_internal"):
            yield f"{path.relative_to(ROOT)}: <{name}> belongs into a .cc file"
        if name.startswith("tl/") and path != ROOT / "lobit/base/result.h":
            yield f"{path.relative_to(ROOT)}: <{name}> is lobit/base/result.h's alone"
        if not name.startswith("lobit/"):
            continue
        other = name.split("/")[1]
        if other == module:
            continue
        used.add(other)
        if other not in FLOOR_OF:
            yield f"{path.relative_to(ROOT)}: {name} belongs to no module of a floor"
        elif FLOOR_OF[other] >= FLOOR_OF[module]:
            yield (f"{path.relative_to(ROOT)}: floor {FLOOR_OF[module]} ({module}) includes {name} "
                   f"of floor {FLOOR_OF[other]}")


def declared_modules(cmake):
    """The lobit_module() arguments of a CMakeLists.txt as {keyword: [values]}, or None when it has no call."""
    call = re.search(r"lobit_module\(([^)]*)\)", cmake)
    if not call:
        return None
    arguments = {}
    keyword = "NAME"
    for word in call.group(1).split():
        if word in ("HEADERS", "SOURCES", "DEPS", "EXTERNAL", "TESTS"):
            keyword = word
        else:
            arguments.setdefault(keyword, []).append(word)
    return arguments


def module_problems(folder):
    """Yields what is wrong with one module."""
    module = folder.name
    if module not in FLOOR_OF:
        yield f"lobit/{module}: not on a floor; add it to FLOORS in tools/check_layers.py"
        return
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".h", ".cc", ".cu", ".cuh"))
    used = set()
    for path in files:
        yield from include_problems(path, module, used)
    cmake = (folder / "CMakeLists.txt").read_text()
    for path in files:
        if path.suffix == ".cc" and not re.search(rf"\b{re.escape(path.name)}\b", cmake):
            yield f"{path.relative_to(ROOT)}: not in lobit/{module}/CMakeLists.txt, so nothing compiles it"
    arguments = declared_modules(cmake)
    if arguments is None:
        return  # the program links liblobit as a whole
    deps = set(arguments.get("DEPS", []))
    for missing in sorted(used - deps):
        yield f"lobit/{module}/CMakeLists.txt: DEPS lacks {missing}, which its files include"
    if "SOURCES" in arguments:
        for unused in sorted(deps - used):
            yield f"lobit/{module}/CMakeLists.txt: DEPS has {unused}, which no file includes"


def main():
    problems = []
    for folder in sorted((ROOT / "lobit").iterdir()):
        if folder.is_dir():
            problems.extend(module_problems(folder))
    print("\n".join(problems) if problems else "layers: every include goes down")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
