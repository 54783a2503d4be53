"""Every model of keras.applications and tf_keras.applications, pruned by half.

    python benchmarks/coverage.py                  # all; goes on where it was
    python benchmarks/coverage.py --models ResNet50 tf_keras:RegNetX002
    python benchmarks/coverage.py --write docs/coverage.md

Each constructor runs in a process of its own: random weights, random
BatchNormalization statistics and biases (at their defaults they would hide
differences), logits at the end, small images. Some deep models amplify rounding
to the size of their outputs with such statistics, so that no comparison could
tell right from wrong; those get statistics measured on random images. One line
of JSON a model goes to `--results`; models that have one are left out.
`--write` makes the tables.
"""

import argparse
import collections
import importlib
import json
import os
import re
import subprocess
import sys
import time

SIDE = 64
# The smallest images that these take, rounded up.
SIDES = {
    "InceptionV3": 80,
    "InceptionResNetV2": 80,
    "Xception": 80,
}
FLAVOURS = ("keras", "tf_keras")
# How far a change of 1e-6 of the inputs may move the outputs.
AMPLIFIED = 1e-3
HEAD = "<!-- tables: benchmarks/coverage.py -->"


def constructors(flavour) -> list[str]:
    """The names of all models that a Keras ships."""
    room = importlib.import_module(f"{flavour}.applications")
    return [name for name in sorted(dir(room)) if name[0].isupper()]


def build(flavour, name):
    room = importlib.import_module(f"{flavour}.applications")
    importlib.import_module(flavour).utils.set_random_seed(0)
    side = SIDES.get(name, SIDE)
    model = getattr(room, name)(
        weights=None,
        input_shape=(side, side, 3),
        classifier_activation=None,
    )
    return randomised(model, flavour), side


def randomised(model, flavour):
    """Gives weights that start at ones or zeros other values."""
    import numpy as np

    rng = np.random.default_rng(0)
    for weight in model.weights:
        kind = re.split(r"[/:]", weight.name)[
            -2 if flavour == "tf_keras" else -1
        ]
        if kind in ("gamma", "moving_variance", "variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif kind in ("beta", "bias", "moving_mean", "mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):  # Normalization computes from it
            layer.finalize_state()
    return model


def settled(model, side):
    """The model, with other statistics if it amplifies rounding too much.

    Returns:
        A model, and whether its statistics are measured.
    """
    import numpy as np

    import tf_channel_prune as tcp
    from tf_channel_prune.graph.outputs import Reference

    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, side, side, 3)).astype("float32")
    expected = Reference(model, images[:2])
    noise = rng.normal(size=images[:2].shape).astype("float32")
    expected.inputs = images[:2] * (1 + 1e-6 * noise)
    if expected.difference(model).relative < AMPLIFIED:
        return model, False
    return tcp.recalibrate(model, images), True


def check(flavour, name) -> dict:
    """Prunes one model by half and compares all the way."""
    model, side = build(flavour, name)
    model, measured_on_images = settled(model, side)
    row = {
        "flavour": flavour,
        "model": name,
        "side": side,
        "measured_statistics": measured_on_images,
    }
    return {**row, **measured(model, 0.5)}


def measured(model, ratio) -> dict:
    """Prunes a model and compares all the way.

    Args:
        model: What to prune.
        ratio: The share of its FLOPs to remove.

    Returns:
        What the tables show; if it could not be reached, "error" says why.
    """
    import numpy as np

    import tf_channel_prune as tcp
    from tf_channel_prune.api import channels_of
    from tf_channel_prune.cost import CostTable
    from tf_channel_prune.errors import TargetError
    from tf_channel_prune.graph.inputs import random_inputs
    from tf_channel_prune.transform import compare

    start = time.perf_counter()
    channels = channels_of(model)
    table = CostTable(channels)
    full = table.total(table.sizes, "flops")
    least = table.total(np.ones_like(table.sizes), "flops")
    row = {
        "params": model.count_params(),
        "mflops": full / 1e6,
        "groups": len(channels.groups),
        "frozen": collections.Counter(
            general(group.reason) for group in channels.groups if group.frozen
        ),
        "left_whole": [f"{n}: {why}" for n, why in channels.left_whole],
        "most": 1 - least / full if full else 0.0,
        "label_seconds": time.perf_counter() - start,
    }
    try:
        sparse = tcp.prune(model, ratio=ratio)
    except TargetError as error:
        return {**row, "error": str(error)}
    slim = tcp.transform(sparse)
    row["seconds"] = time.perf_counter() - start
    inputs = random_inputs(model)
    row["cut"] = 1 - tcp.cost(slim).flops / tcp.cost(model).flops
    row["difference"] = compare(sparse, slim, inputs).relative
    row["changed"] = compare(model, slim, inputs).relative
    return row


def general(reason: str) -> str:
    """A reason without the names of layers."""
    reason = re.sub(r"^\S*\d\S* ", "a layer ", reason)
    return re.sub(r"'[^']*'", "...", reason)


def run_one(flavour, name, limit, script=__file__) -> dict:
    """`check` in a process of its own."""
    command = [sys.executable, script, "--one", f"{flavour}:{name}"]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [here, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        error = f"not done after {limit} s"
        return {"flavour": flavour, "model": name, "error": error}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
    return {"flavour": flavour, "model": name, "error": lines[-1]}


def run(flags, models, script=__file__) -> None:
    """Checks the `(flavour, name)`s that are not known, a process each."""
    rows = known_rows(flags.results)
    os.makedirs(os.path.dirname(flags.results) or ".", exist_ok=True)
    for flavour, name in models:
        known = rows.get((flavour, name))
        if known and not (flags.again and "error" in known):
            continue
        row = run_one(flavour, name, flags.limit, script)
        with open(flags.results, "a") as file:
            file.write(json.dumps(row) + "\n")
        shown = row.get("error") or (
            f"cut {row['cut']:.3f}, slim - sparse {row['difference']:.1e}, "
            f"{row['seconds']:.0f} s"
        )
        print(f"{flavour}.{name}: {shown}", flush=True)


def known_rows(path) -> dict:
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return {(row["flavour"], row["model"]): row for row in rows}


def wanted(flags) -> list[tuple[str, str]]:
    if not flags.models:
        return [(f, n) for f in FLAVOURS for n in constructors(f)]
    pairs = []
    for text in flags.models:
        flavour, _, name = text.rpartition(":")
        kinds = [flavour] if flavour else FLAVOURS
        pairs += [(f, name) for f in kinds if name in constructors(f)]
    return pairs


def write(path, rows):
    """Puts the tables into a page, below its marker."""
    with open(path) as file:
        text = file.read().split(HEAD)[0].rstrip()
    for flavour in FLAVOURS:
        mine = [row for (f, _), row in rows.items() if f == flavour]
        mine.sort(key=lambda row: row["model"])
        text += f"\n\n{HEAD}\n" if flavour == FLAVOURS[0] else "\n"
        text += f"\n## {flavour}.applications ({len(mine)} models)\n\n"
        text += "\n".join(table(mine)) + "\n\n" + "\n".join(reasons(mine))
    temporary = f"{path}.part"
    with open(temporary, "w") as file:
        file.write(text.rstrip() + "\n")
    os.replace(temporary, path)


def table(rows):
    yield (
        "| model | side | params, M | groups (frozen) | can be cut | "
        "cut at 0.5 | slim - sparse | dense - slim | s |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        name = row["model"] + "\\*" * row.get("measured_statistics", False)
        if "groups" not in row:
            yield f"| {name} | failed: {row['error']} |"
            continue
        frozen = sum(row["frozen"].values())
        start = (
            f"| {name} | {row['side']} | {row['params'] / 1e6:.1f} "
            f"| {row['groups']} ({frozen}) | {row['most']:.1%} "
        )
        if "error" in row:
            yield start + f"| {row['error'][:60]} | | | |"
        else:
            yield start + (
                f"| {row['cut']:.3f} | {row['difference']:.1e} "
                f"| {row['changed']:.2f} | {row['seconds']:.0f} |"
            )


def reasons(rows):
    """Why groups are frozen, with the models, most frequent first."""
    models = collections.defaultdict(list)
    for row in rows:
        for reason in row.get("frozen", {}):
            models[reason].append(row["model"])
    yield "Frozen groups, by reason:\n"
    for reason, names in sorted(models.items(), key=lambda r: -len(r[1])):
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        yield f"- {reason}: {len(names)} models ({shown})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", help="[flavour:]name")
    parser.add_argument("--results", default="runs/coverage.jsonl")
    parser.add_argument("--limit", type=int, default=1800, help="seconds each")
    parser.add_argument("--again", action="store_true", help="failed ones too")
    parser.add_argument("--write", metavar="PAGE")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        print(json.dumps(check(*flags.one.split(":"))))
        return
    if flags.write:
        write(flags.write, known_rows(flags.results))
        return
    run(flags, wanted(flags))


if __name__ == "__main__":
    main()
