"""The code in the documentation runs, block after block."""

import pathlib
import re
import sys

import pytest

from tf_channel_prune import criteria

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import update_build  # noqa: E402

PAGES = ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Before a page on how to add a criterion adds one.
CRITERIA = criteria.names()
LINK = re.compile(r"\]\((?!http|#)([^)#]+)")


@pytest.mark.parametrize("page", sorted(PAGES))
def test_code_runs(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text()
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "__main__"}
    for match in BLOCK.finditer(text):
        # Line numbers in a traceback are those of the page.
        lines = "\n" * text[: match.start(1)].count("\n")
        exec(compile(lines + match[1], page, "exec"), scope)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    assert [t for t in LINK.findall(text) if not (folder / t).exists()] == []


def test_every_trap_has_its_test():
    text = (ROOT / "docs" / "traps.md").read_text()
    rows = [r for r in text.splitlines() if r.startswith("| ")]
    traps = [row for row in rows if not row.startswith("| trap ")]
    missing = []
    for row in traps:
        file, name = re.search(r"`(\S+\.py)::(\w+)` \|$", row).groups()
        if f"def {name}(" not in (ROOT / "tests" / file).read_text():
            missing.append(row)
    assert traps and not missing


def test_flags_and_actions_in_the_readme_exist():
    cli = pytest.importorskip("tf_channel_prune.cli")
    text = (ROOT / "README.md").read_text()
    actions = set(re.findall(r"--action=(\w+)", text))
    assert actions <= set(cli.ACTIONS)
    assert set(re.findall(r"--(\w+)=", text)) <= set(
        cli.define_flags(list(cli.ACTIONS))
    )


def test_criteria_in_the_readme_are_those_that_exist():
    row = re.search(r"\| criteria \|(.*)", (ROOT / "README.md").read_text())
    assert sorted(re.findall(r"`(\w+)`", row[1])) == CRITERIA


def test_architecture_names_every_room_in_order():
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = text.split("## The rooms")[1].split("```")[1]
    named = re.findall(r"^(\w+)  ", block, re.MULTILINE)
    assert named == update_build.existing_rooms()


def test_there_is_code_to_run():
    code = [p for p in PAGES if BLOCK.search((ROOT / p).read_text())]
    assert "README.md" in code and "docs/registering_rules.md" in code
