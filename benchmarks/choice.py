"""Accuracy of every criterion and allocation, without fine-tuning.

    python benchmarks/choice.py --model resnet20.keras --data cifar10.npz \\
        --out choice.jsonl

Every cell prunes the model to a share of its FLOPs, measures the running
statistics again on 2,048 augmented training images, and takes the accuracy on
the validation images. Loss curves are measured on 2,500 training images, and
`tried` takes the best of 16 plans near that of the curves by the accuracy on
the same images, as `tcp.prune(data=...)` does; so nothing but the choice of the
package's default is made on the validation images. Results are added to
`--out`, one line each; what is there already is not computed again. `--table`
prints them.
"""

import argparse
import collections
import json
import pathlib

import cifar10_arrays
import numpy as np

RATIOS = (0.3, 0.5, 0.7)
ALLOCATIONS = ("uniform", "global", "isomorphic", "sensitivity", "tried")
BY_CURVES = ("sensitivity", "tried")
CHANCE = ("random", "taylor", "obd", "activation_mean", "apoz")
RECALIBRATION = 2048
ANALYSIS = 2500
TRIED = 16


class Bench:
    """One sparse copy of the model that is masked, recalibrated, scored."""

    def __init__(self, model, data, images):
        import keras

        from tf_channel_prune import graph as graphs
        from tf_channel_prune.api import channels_of
        from tf_channel_prune.channels import understood
        from tf_channel_prune.cost import CostTable
        from tf_channel_prune.graph import run
        from tf_channel_prune.graph.compiling import compiled
        from tf_channel_prune.graph.recalibration import Recalibration
        from tf_channel_prune.masking import Masks
        from tf_channel_prune.masking import make_sparse

        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.channels = channels_of(model)
        self.table = CostTable(self.channels)
        self.data = data
        self.images = images
        sparse = make_sparse(self.channels)
        self.masks = Masks(sparse)
        graph = graphs.read(sparse, understood)
        self.recalibration = Recalibration(graph)

        def predict(x):
            made = run.run(graph, run.inputs(graph, x))
            return made[graph.outputs[0]]

        self._predict = compiled(graph, predict)

    def training(self, count, seed):
        """A random choice of training images, as they are."""
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(self.data["x_train"]))[:count]
        return (
            self.data["x_train"][chosen].astype("float32"),
            self.data["y_train"][chosen].astype("int64"),
        )

    def accuracy(self, alive, part, seed, recalibrate=True):
        """The accuracy in percent with only `alive` left."""
        x, y = self.data[f"x_{part}"], self.data[f"y_{part}"]
        x, y = x[: self.images], y[: self.images]
        with self.masks.trial(alive):
            if recalibrate:
                images, _ = self.training(RECALIBRATION, 1000 + seed)
                self.recalibration(cifar10_arrays.augmented(images, seed))
            right = 0
            for start in range(0, len(x), 250):
                batch = x[start : start + 250].astype("float32")
                labels = np.asarray(self._predict(batch)).argmax(-1)
                right += int((labels == y[start : start + 250]).sum())
        return 100 * right / len(x)

    def scored(self, name, seed):
        """A criterion's scores of the units."""
        from tf_channel_prune import criteria

        criterion = criteria.get(name)
        if hasattr(criterion, "seed"):
            criterion.seed = seed
        data = self.training(8000, seed)
        return criteria.scores(self.channels, criterion, data, self.loss)

    def curves(self, criterion, seed):
        from tf_channel_prune.masking.trials import analyse_on_data

        scores = self.scored(criterion, seed)
        found, effort = analyse_on_data(
            self.channels,
            lambda channels: scores,
            self.training(ANALYSIS, 2000 + seed),
            metric="loss",
            loss=self.loss,
        )
        print(f"{criterion} {seed}: {effort}", flush=True)
        return found

    def tried(self, request, scores, curves, seed):
        """The best of several plans near that of the curves."""
        from tf_channel_prune.masking.choosing import try_plans
        from tf_channel_prune.masking.trials import plan_scorer
        from tf_channel_prune.planning.proposals import Problem

        data = self.training(ANALYSIS, 2000 + seed)
        measure = plan_scorer(self.masks, data)
        problem = Problem(
            self.channels, scores, request, self.table, curves=curves
        )
        return try_plans(problem, measure, TRIED, seed)[1]

    def plan(self, criterion, allocation, ratio, seed, curves):
        """Which units stay by one cell of the table."""
        from tf_channel_prune.planning import Request

        name = "sensitivity" if allocation in BY_CURVES else allocation
        request = Request(ratio, allocation=name)
        scores = self.scored(criterion, seed)
        if allocation == "tried":
            return self.tried(request, scores, curves, seed)
        return request.plan(self.channels, scores, None, curves)


def cells(criteria, allocations, ratios, seeds):
    """Seed 0 of everything first."""
    for seed in range(seeds):
        for criterion in criteria:
            for allocation in allocations:
                chance = criterion in CHANCE or allocation in BY_CURVES
                if seed == 0 or chance:
                    for ratio in ratios:
                        yield criterion, allocation, ratio, seed


def run(flags, path):
    import keras

    from tf_channel_prune import criteria

    names = flags.criteria or criteria.names()
    bench = Bench(
        keras.models.load_model(flags.model),
        cifar10_arrays.load(flags.data),
        flags.images,
    )
    known = {tuple(row["cell"]) for row in read(path)}
    whole = np.ones(bench.channels.unit_count, bool)
    for recalibrate in (False, True):
        cell = ("dense", "recalibrated" if recalibrate else "as is", 0.0, 0)
        if cell not in known:
            score = bench.accuracy(whole, "val", 0, recalibrate)
            write(path, {"cell": cell, "val": score})
    curves = {}
    for cell in cells(names, flags.allocations, flags.ratios, flags.seeds):
        if cell in known:
            continue
        name, allocation, _, seed = cell
        found = None
        if allocation in BY_CURVES:
            if (name, seed) not in curves:
                curves[name, seed] = bench.curves(name, seed)
            found = curves[name, seed]
        alive = bench.plan(*cell, found)
        row = {
            "cell": cell,
            "val": bench.accuracy(alive, "val", seed),
            "removed": bench.table.removed(alive, "flops"),
            "kept": bench.table.counts(alive).tolist(),
        }
        write(path, row)
        print(cell, f"{row['val']:.2f}", flush=True)


def test_accuracy(flags, path):
    """The accuracy of one column's plans on images nothing was chosen on."""
    import keras

    bench = Bench(
        keras.models.load_model(flags.model),
        cifar10_arrays.load(flags.data),
        None,
    )
    name, allocation = flags.test
    whole = np.ones(bench.channels.unit_count, bool)
    print("dense", bench.accuracy(whole, "test", 0, False))
    for seed in range(flags.seeds):
        curves = bench.curves(name, seed) if allocation in BY_CURVES else None
        for ratio in RATIOS:
            alive = bench.plan(name, allocation, ratio, seed, curves)
            score = bench.accuracy(alive, "test", seed)
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
