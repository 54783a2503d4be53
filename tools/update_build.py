"""Writes BUILD from the imports of the code: `make build-file`.

One `py_library` for each room of the package and each folder of scripts, one
`py_test` for each test file. Nothing in BUILD is written by hand;
tests/test_build.py reads it and compares it with the imports.
"""

from __future__ import annotations

import ast
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "tf_channel_prune"

# In the order in which data flows: a room imports only from rooms before it.
ROOMS = (
    "errors numbers graph channels cost criteria analysis planning masking "
    "transform finetune export latency report workspace api pruner cli"
).split()
# What any room may import inside a function, to print: not a dependency, or
# the rooms that report describes could not be built without it.
PRINTING = "report"

# Folders of scripts, each a library that tests may import from.
FOLDERS = ("benchmarks", "examples", "tools")

DISTRIBUTIONS = {"absl": "absl-py", "sklearn": "scikit-learn"}

HEADER = '''"""Bazel targets: one a room, one a test file.

Written by tools/update_build.py (`make build-file`) from the imports. The
workspace provides rules_python and the packages of setup.cfg as `@pypi`.
"""

load("@pypi//:requirements.bzl", "requirement")
load("@rules_python//python:defs.bzl", "py_library", "py_test")

package(default_visibility = ["//visibility:public"])

licenses(["notice"])'''


def imports(path: pathlib.Path):
    """`(module, is inside a function)` of every import in a file.

    `from package import room` counts as the room.
    """
    found = []

    def visit(node, lazy):
        if isinstance(node, ast.Import):
            found.extend((alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = node.module
                if module == PACKAGE and alias.name in ROOMS:
                    module = f"{PACKAGE}.{alias.name}"
                found.append((module, lazy))
        lazy = lazy or isinstance(node, (ast.FunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, lazy)

    visit(ast.parse(path.read_text()), False)
    return found


def scripts() -> dict[str, str]:
    """The library of each module outside the package, by module name."""
    found = {
        path.stem: f'":{folder}"'
        for folder in FOLDERS
        for path in (ROOT / folder).glob("*.py")
    }
    for path in test_files(support=True):
        found[path.stem] = '":test_support"'
    return found


def test_files(support: bool) -> list[pathlib.Path]:
    """The test files, or what stands beside them for their use."""
    return [
        path
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if support != path.name.startswith("test_")
    ]


def dependencies(paths, own: str) -> list[str]:
    """The deps of the target `own` with these sources, as BUILD writes them."""
    local = scripts()
    inside, outside = set(), set()
    for path in paths:
        for module, lazy in imports(path):
            first, _, rest = module.partition(".")
            if first == PACKAGE:
                room = rest.partition(".")[0] or PACKAGE
                if not (own in ROOMS and lazy and room == PRINTING):
                    inside.add(f'":{room}"')
            elif first in local:
                inside.add(local[first])
            elif first not in sys.stdlib_module_names:
                name = DISTRIBUTIONS.get(first, first).replace("_", "-")
                outside.add(f'requirement("{name}")')
    return sorted(inside - {f'":{own}"'}) + sorted(outside)


def sources(room: str) -> list[pathlib.Path]:
    """The Python files of a room: a folder or a single module."""
    folder = ROOT / PACKAGE / room
    if folder.is_dir():
        return sorted(folder.rglob("*.py"))
    return [folder.with_suffix(".py")]


def existing_rooms() -> list[str]:
    """The rooms that are there, in order.

    Raises:
        SystemExit: If there is one that `ROOMS` does not know.
    """
    there = {
        path.stem
        for path in (ROOT / PACKAGE).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    if unknown := sorted(there.difference(ROOMS)):
        sys.exit(f"Give {', '.join(unknown)} a place in ROOMS, in {__file__}.")
    return [room for room in ROOMS if room in there]


def target(rule: str, name: str, **attributes) -> str:
    """One call of a rule; lists of one or none stay on one line."""
    lines = [f"{rule}(", f'    name = "{name}",']
    for key, value in attributes.items():
        if not value:
            continue
        if not isinstance(value, list):
            lines.append(f"    {key} = {value},")
        elif len(value) == 1:
            lines.append(f"    {key} = [{value[0]}],")
        else:
            lines.append(f"    {key} = [")
            lines.extend(f"        {item}," for item in value)
            lines.append("    ],")
    return "\n".join([*lines, ")"])


def labels(paths) -> list[str]:
    return [f'"{path.relative_to(ROOT).as_posix()}"' for path in paths]


def libraries() -> list[str]:
    """A target for each room, one for the package, one for each folder."""
    rooms = existing_rooms()
    made = [library(room, sources(room), data(room)) for room in rooms]
    made.append(
        target(
            "py_library",
            PACKAGE,
            srcs=labels([ROOT / PACKAGE / "__init__.py"]),
            deps=sorted(f'":{room}"' for room in rooms),
        )
    )
    for folder in FOLDERS:
        if paths := sorted((ROOT / folder).glob("*.py")):
            made.append(library(folder, paths, imports=[f'"{folder}"']))
    if paths := test_files(support=True):
        made.append(library("test_support", paths, testonly="True"))
    return made


def library(name, paths, data=(), **attributes) -> str:
    return target(
        "py_library",
        name,
        srcs=labels(paths),
        data=labels(data),
        deps=dependencies(paths, name),
        **attributes,
    )


def data(room: str) -> list[pathlib.Path]:
    """Files of a room that its code reads."""
    files = sorted((ROOT / PACKAGE / room).rglob("*"))
    return [p for p in files if p.suffix in (".html", ".json", ".css")]


def tests() -> list[str]:
    """A target for each test file, run by tools/run_test.py."""
    made = []
    for path in test_files(support=False):
        name = "_".join(path.relative_to(ROOT / "tests").with_suffix("").parts)
        runner = ROOT / "tools" / "run_test.py"
        made.append(
            target(
                "py_test",
                name,
                srcs=labels([path, runner]),
                args=labels([path]),
                main='"tools/run_test.py"',
                deps=dependencies([path, runner], name),
            )
        )
    return made


def build_text() -> str:
    """What BUILD should say."""
    return "\n\n".join([HEADER, *libraries(), *tests()]) + "\n"


if __name__ == "__main__":
    (ROOT / "BUILD").write_text(build_text())
