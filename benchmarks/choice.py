"""Accuracy of every criterion and allocation, without fine-tuning.

    python benchmarks/choice.py --model resnet20.keras --data cifar10.npz \\
        --out choice.jsonl

Every cell prunes the model to a share of its FLOPs, measures the running
statistics again on 2,048 augmented training images, and takes the accuracy on
the validation images. Criteria that need data, and loss curves, see 2,500
training images, augmented as in training, and `tried` takes the best of 16
plans near that of the curves by the accuracy on the same images, as
`tcp.prune(data=...)` does; so nothing but the choice of the package's default
is made on the validation images. Results are added to `--out`, one line each;
what is there already is not computed again. `--table` prints them.
"""

import argparse
import collections
import json
import pathlib

import cifar10_arrays
import keras
import numpy as np
from cifar10_masked import Masked

from tf_channel_prune import criteria
from tf_channel_prune.planning import Request

RATIOS = (0.3, 0.5, 0.7)
ALLOCATIONS = ("uniform", "global", "isomorphic", "sensitivity", "tried")
BY_CURVES = ("sensitivity", "tried")
CHANCE = ("random", "taylor", "obd", "activation_mean", "apoz", "thinet")
RECALIBRATION = 2048
ANALYSIS = 2500


class Bench(Masked):
    """The cells of the table."""

    def __init__(self, model, data):
        super().__init__(model, data)
        self._scores = {}

    def recalibrated(self, alive, part, seed, count=None):
        """The accuracy in percent with only `alive` left."""
        images, _ = cifar10_arrays.some(self.data, RECALIBRATION, 1000 + seed)
        images = cifar10_arrays.augmented(images, seed)
        return self.accuracy(alive, part, count, images)

    def scored(self, name, seed):
        """A criterion's scores of the units, the same for all its cells."""
        if (name, seed) not in self._scores:
            criterion = criteria.get(name)
            if hasattr(criterion, "seed"):
                criterion.seed = seed
            self._scores[name, seed] = criteria.scores(
                self.channels, criterion, self.analysis(seed), self.loss
            )
        return self._scores[name, seed]

    def analysed(self, name, seed):
        """A criterion's loss curves."""
        scores = self.scored(name, seed)
        found, effort = self.curves(scores, self.analysis(seed))
        print(f"{name} {seed}: {effort}", flush=True)
        return self.as_expected(found, name, scores)

    def analysis(self, seed):
        """The images for scores, curves and trials.

        They are augmented: a model knows the images that it was trained on
        better than any others, and loses less on them.
        """
        images, labels = cifar10_arrays.some(self.data, ANALYSIS, 2000 + seed)
        return cifar10_arrays.augmented(images, 3000 + seed), labels

    def plan(self, name, allocation, ratio, seed, curves):
        """Which units stay by one cell of the table."""
        scores = self.scored(name, seed)
        if allocation not in BY_CURVES:
            request = Request(ratio, allocation=allocation)
            return request.plan(self.channels, scores, None, curves)
        problem = self.problem(ratio, scores, curves)
        if allocation == "tried":
            return self.tried(problem, self.analysis(seed), seed)
        return problem.first.alive


def cells(names, allocations, ratios, seeds):
    """Seed 0 of everything first."""
    for seed in range(seeds):
        for name in names:
            for allocation in allocations:
                chance = name in CHANCE or allocation in BY_CURVES
                if seed == 0 or chance:
                    for ratio in ratios:
                        yield name, allocation, ratio, seed


def run(flags, path):
    names = flags.criteria or criteria.names()
    bench = Bench(
        keras.models.load_model(flags.model),
        cifar10_arrays.load(flags.data),
    )
    known = {tuple(row["cell"]) for row in read(path)}
    whole = np.ones(bench.channels.unit_count, bool)
    if ("dense", "as is", 0.0, 0) not in known:
        as_is = bench.accuracy(whole, "val", flags.images)
        again = bench.recalibrated(whole, "val", 0, flags.images)
        for how, score in (("as is", as_is), ("recalibrated", again)):
            write(path, {"cell": ("dense", how, 0.0, 0), "val": score})
    curves = {}
    for cell in cells(names, flags.allocations, flags.ratios, flags.seeds):
        if cell in known:
            continue
        name, allocation, _, seed = cell
        found = None
        if allocation in BY_CURVES:
            if (name, seed) not in curves:
                curves[name, seed] = bench.analysed(name, seed)
            found = curves[name, seed]
        alive = bench.plan(*cell, found)
        row = {
            "cell": cell,
            "val": bench.recalibrated(alive, "val", seed, flags.images),
            "removed": bench.table.removed(alive, "flops"),
            "kept": bench.table.counts(alive).tolist(),
        }
        write(path, row)
        print(cell, f"{row['val']:.2f}", flush=True)


def test_accuracy(flags, path):
    """The accuracy of one column's plans on images nothing was chosen on."""
    bench = Bench(
        keras.models.load_model(flags.model),
        cifar10_arrays.load(flags.data),
    )
    name, allocation = flags.test
    whole = np.ones(bench.channels.unit_count, bool)
    print("dense", bench.accuracy(whole, "test"))
    for seed in range(flags.seeds):
        curves = bench.analysed(name, seed) if allocation in BY_CURVES else None
        for ratio in RATIOS:
            alive = bench.plan(name, allocation, ratio, seed, curves)
            score = bench.recalibrated(alive, "test", seed)
            write(
                path,
                {
                    "cell": (f"test {name}", allocation, ratio, seed),
                    "test": score,
                },
            )
            print(name, allocation, ratio, seed, f"{score:.2f}", flush=True)


def read(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, row):
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table(path):
    """Mean accuracy over seeds, a row a criterion, for every ratio."""
    found = collections.defaultdict(list)
    for row in read(path):
        name, allocation, ratio, _ = row["cell"]
        if "val" in row:
            found[name, allocation, ratio].append(row["val"])
    for (name, allocation, _), scores in found.items():
        if name == "dense":
            print(f"dense, {allocation}: {scores[0]:.2f}")
    names = dict.fromkeys(name for name, *_ in found if name != "dense")
    for ratio in RATIOS:
        print(f"\n{ratio:.0%} of FLOPs removed\n")
        print("| criterion | " + " | ".join(ALLOCATIONS) + " |")
        print("|---|" + "---|" * len(ALLOCATIONS))
        for name in names:
            row = []
            for allocation in ALLOCATIONS:
                scores = found.get((name, allocation, ratio), [])
                text = f"{np.mean(scores):.1f}" if scores else ""
                if len(scores) > 1:
                    text += f" ± {np.std(scores):.1f}"
                row.append(text)
            print(f"| {name} | " + " | ".join(row) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="the trained ResNet-20")
    parser.add_argument("--data", help="see cifar10_arrays.py")
    parser.add_argument("--out", type=pathlib.Path, default="choice.jsonl")
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--criteria", nargs="+")
    parser.add_argument("--allocations", nargs="+", default=ALLOCATIONS)
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    parser.add_argument(
        "--test",
        nargs=2,
        metavar=("CRITERION", "ALLOCATION"),
        help="the accuracy of one column on the test images",
    )
    flags = parser.parse_args()
    flags.out = pathlib.Path(flags.out)
    if flags.table:
        table(flags.out)
    elif flags.test:
        test_accuracy(flags, flags.out)
    else:
        run(flags, flags.out)


if __name__ == "__main__":
    main()
