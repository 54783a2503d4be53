"""BUILD tells the truth about the code, and data flows one way."""

import ast
import configparser
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import update_build  # noqa: E402

ROOMS = update_build.existing_rooms()


def read_build():
    """`{target: {attribute: [strings]}}`; BUILD is Python syntax."""
    targets = {}
    for statement in ast.parse((ROOT / "BUILD").read_text()).body:
        call = getattr(statement, "value", None)
        rule = getattr(getattr(call, "func", None), "id", "")
        if rule.startswith("py_"):
            values = {k.arg: _strings(k.value) for k in call.keywords}
            assert values["name"][0] not in targets, "two targets of one name"
            targets[values["name"][0]] = values
    return targets


def _strings(node):
    """All string constants below a node: requirement("x") gives x."""
    return [
        leaf.value
        for leaf in ast.walk(node)
        if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
    ]


BUILD = read_build()


def imported(path):
    """Top-level and second names of all imports: `("rich", "table")`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {tuple(f"{name}.".split(".")[:2]) for name in names}
    return found


def rooms_imported(path):
    """The rooms that a file imports from, anywhere in it."""
    return {
        room
        for first, room in imported(path)
        if first == "tf_channel_prune" and room in ROOMS
    }


def test_build_is_what_the_tool_writes():
    assert (ROOT / "BUILD").read_text() == update_build.build_text(), (
        "BUILD is stale: run make build-file"
    )


def test_every_file_is_in_one_target():
    listed = [
        path
        for target in BUILD.values()
        for path in target["srcs"]
        if path != "tools/run_test.py"
    ]
    assert len(listed) == len(set(listed))
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("tf_channel_prune", "tests", *update_build.FOLDERS)
        for path in (ROOT / folder).rglob("*.py")
    }
    assert set(listed) == there - {"tools/run_test.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_deps_of_a_room_are_its_imports(room):
    target = BUILD[room]
    used = set().union(*map(rooms_imported, target["srcs"])) - {room}
    deps = {dep[1:] for dep in target.get("deps", ()) if dep[0] == ":"}
    # Any room may print what it found, with an import inside a function.
    assert deps <= used <= deps | {"report"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_before_it(room):
    deps = {dep[1:] for dep in BUILD[room].get("deps", ()) if dep[0] == ":"}
    assert deps <= set(ROOMS[: ROOMS.index(room)])


def test_libraries_that_the_package_imports_are_declared():
    """Whatever is imported stands in setup.cfg, tests' needs included."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    text = config["options"]["install_requires"] + "\n".join(
        config["options.extras_require"].values()
    )
    declared = {
        re.match(r"[\w-]+", line.strip())[0].lower().replace("_", "-")
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith("#")
    }
    needed = {
        dep
        for target in BUILD.values()
        for dep in target.get("deps", ())
        if dep[0] != ":"
    }
    assert needed - declared == set()
