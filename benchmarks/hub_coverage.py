"""Small KerasHub backbones, pruned to 60 % of their FLOPs.

    python benchmarks/hub_coverage.py              # all; goes on where it was
    python benchmarks/hub_coverage.py --models GPT2 Swin
    python benchmarks/hub_coverage.py --write docs/coverage_hub.md

One process a model, as in `coverage.py`. Needs `pip install keras-hub`.
"""

import argparse
import collections
import json
import os
import re

import coverage
import hub_models

RATIO = 0.4
FLAVOUR = "keras_hub"
HEAD = "<!-- tables: benchmarks/hub_coverage.py -->"


def check(name) -> dict:
    import keras

    keras.utils.set_random_seed(0)
    model = coverage.randomised(hub_models.build(name), FLAVOUR)
    row = {"flavour": FLAVOUR, "model": name}
    return {**row, **coverage.measured(model, RATIO)}


def write(path, results, head, models):
    """Puts the table of some models into a page, below its marker."""
    with open(path) as file:
        text = file.read().split(head)[0].rstrip()
    known = {
        name: row for (_, name), row in coverage.known_rows(results).items()
    }
    rows = [known[name] for name in models if name in known]
    lines = [head, "", summary(rows), "", *table(rows), ""]
    lines += [*shortfalls(rows), "", *left_whole(rows), ""]
    lines += coverage.reasons(rows)
    temporary = f"{path}.part"
    with open(temporary, "w") as file:
        file.write("\n".join([text, "", *lines]).rstrip() + "\n")
    os.replace(temporary, path)


def summary(rows) -> str:
    reached = sum("cut" in row for row in rows)
    worst = max((row["difference"] for row in rows if "cut" in row), default=0)
    return (
        f"{reached} of {len(rows)} models reach a ratio of {RATIO}; the "
        f"largest difference between slim and sparse is {worst:.1e} of the "
        "outputs' scale."
    )


def table(rows):
    yield (
        "| model | params, k | groups (frozen) | can be cut | "
        f"cut at {RATIO} | slim - sparse | dense - slim | s |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        if "groups" not in row:
            yield f"| {row['model']} | | | | failed | | | |"
            continue
        frozen = sum(row["frozen"].values())
        start = (
            f"| {row['model']} | {row['params'] / 1e3:.0f} "
            f"| {row['groups']} ({frozen}) | {row['most']:.1%} "
        )
        if "error" in row:
            yield start + "| not reached | | | |"
        else:
            yield start + (
                f"| {row['cut']:.3f} | {row['difference']:.1e} "
                f"| {row['changed']:.2f} | {row['seconds']:.0f} |"
            )


def shortfalls(rows):
    yield "Shortfalls:\n"
    short = [row for row in rows if "error" in row]
    for row in short:
        yield f"- {row['model']}: {row['error']}"
    if not short:
        yield "- none"


def left_whole(rows):
    """What did not open, with the reason, by model."""
    yield "Layers without a rule that were left whole:\n"
    found = collections.defaultdict(list)
    for row in rows:
        reasons = {general(text) for text in row.get("left_whole", [])}
        for reason in sorted(reasons):
            found[reason].append(row["model"])
    for reason, models in found.items():
        yield f"- {reason}: {', '.join(models)}"
    if not found:
        yield "- none"


def general(text: str) -> str:
    """What was left whole, by its class in place of its name."""
    kind = re.search(r"\((\w+)\) (.*)", text)
    text = f"{kind[1]} {kind[2]}" if kind else text
    return re.sub(r"'[^']*'", "...", text)


def command(about, check, flavour, models, results, head, script):
    """The command line of a benchmark of one flavour's models.

    Args:
        about: The script's docstring.
        check: Function of a model's name that gives its row.
        flavour: What its rows are kept under.
        models: The names of all models.
        results: Where rows are kept unless the user says otherwise.
        head: The marker of its page.
        script: Its file.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(models))
    parser.add_argument("--results", default=results)
    parser.add_argument("--limit", type=int, default=900, help="seconds each")
    parser.add_argument("--again", action="store_true", help="failed ones too")
    parser.add_argument("--write", metavar="PAGE")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        print(json.dumps(check(flags.one.rpartition(":")[2])))
    elif flags.write:
        write(flags.write, flags.results, head, models)
    else:
        named = [(flavour, name) for name in flags.models]
        coverage.run(flags, named, script)


def main():
    command(
        __doc__,
        check,
        FLAVOUR,
        hub_models.MODELS,
        "runs/coverage_hub.jsonl",
        HEAD,
        __file__,
    )


if __name__ == "__main__":
    main()
