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
# The words of every CMakeLists.txt: which sources are compiled at all.
ALL_CMAKE = {
    name.rsplit("/", 1)[-1]
    for top in ("lobit", "tests", "bench")
    for path in (ROOT / top).rglob("CMakeLists.txt")
    for name in re.findall(r"[\w./-]+", path.read_text())
}
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
SOURCES_ONLY = ("dwarf.h", "elfutils/", "fmt/", "nlohmann/", "pcre2", "xxhash", "zstd")


def include_problems(path, module, public, used):
    """Yields what is wrong with the includes of one file; adds the modules it includes to `used`."""
    for name in INCLUDE.findall(path.read_text()):
        if public and name.startswith(SOURCES_ONLY):
            yield f"{path.relative_to(ROOT)}: a public header may not show <{name}>"
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


def module_arguments(cmake):
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
    cmake = (folder / "CMakeLists.txt").read_text()
    arguments = module_arguments(cmake)
    headers = arguments.get("HEADERS", []) if arguments else []
    used = set()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".h", ".cc", ".cu", ".cuh")):
        public = path.relative_to(folder).as_posix() in headers
        yield from include_problems(path, module, public, used)
        if path.suffix == ".cc" and path.name not in ALL_CMAKE:
            yield f"{path.relative_to(ROOT)}: in no CMakeLists.txt, so nothing compiles it"
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
