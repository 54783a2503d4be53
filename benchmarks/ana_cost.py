"""What the fast analysis costs and loses against the full one.

    python benchmarks/ana_cost.py --model resnet20.keras --data cifar10.npz
    python benchmarks/ana_cost.py --mobilenet --data cifar10.npz

Both analyses look at the same training images, augmented where the model was
trained on augmented ones. The full one scores every group at nine ratios on all
`--images` of them, with the running statistics measured anew for every point;
the fast one (`Pruner.ana(data=...)`) what it needs. Both take the order of the
units from the default criterion, whose scoring is part of the seconds, not of
the evaluations. The plans that follow are recalibrated and scored on the
validation images. The rank correlation is Spearman's, of the losses of both at
all groups and ratios, and the mean of the groups' own. With `--tried` plans are
also the best of 16 near that of the curves, by the accuracy on the same images,
as `tcp.prune(data=...)` takes them; seconds are then those of the analysis and
of one plan. With several `--seeds`, each with a choice of images of its own,
the last lines are the mean difference of both analyses and its standard error.
MobileNetV2 (width 0.35, for 32 x 32 images) is trained for `--epochs` first.
`--memory` runs the fast analysis alone and prints by how much the process grew,
and `--kept 0` with it what it does where no tensors are kept from group to
group.
"""

import argparse
import functools
import resource
import time

import cifar10_arrays
import keras
import numpy as np
from cifar10_masked import Masked

from tf_channel_prune import criteria
from tf_channel_prune.analysis import RATIOS as NINE
from tf_channel_prune.analysis import curves_of
from tf_channel_prune.analysis import sizes_of
from tf_channel_prune.analysis import steps
from tf_channel_prune.graph import trial
from tf_channel_prune.graph.prefixes import BYTES
from tf_channel_prune.graph.prefixes import Prefixes
from tf_channel_prune.graph.trial import Trials

RATIOS = (0.3, 0.5, 0.7)


class Bench(Masked):
    """Both analyses, on one choice of images, and plans by them.

    Args:
        model, data: See `Masked`.
        count: How many training images the analyses see.
        validation: How many validation images score plans.
        augmented: Whether the model was trained on augmented images.
    """

    def __init__(self, model, data, count, validation, augmented):
        super().__init__(model, data)
        self.count = count
        self.validation = validation
        self.augmented = augmented

    def choose(self, seed):
        """The training images that the analyses see from now on."""
        self.seed = seed
        images, labels = cifar10_arrays.some(self.data, self.count, seed)
        if self.augmented:
            images = cifar10_arrays.augmented(images, seed)
        self.images = images, labels
        start = time.perf_counter()
        self.scores = criteria.scores(
            self.channels, criteria.DEFAULT_WITH_DATA, self.images, self.loss
        )
        self.scoring = time.perf_counter() - start

    def full(self):
        """Every group at nine ratios on all images, from the input on."""
        graph = self.masks.channels.graph
        trials = Trials(graph, self.images, "loss", self.loss)
        known = {}
        for step in steps(self.channels, self.scores, NINE):
            alive = np.ones(self.channels.unit_count, bool)
            alive[step.dead] = False
            variant = functools.partial(self.masks.trial, alive)
            known[step.key] = float(trials.outcomes(0, [variant])[0].mean())
        return self.curves_of(known), trials.work

    def fast(self):
        """What `Pruner.ana(data=...)` does."""
        curves, effort = self.curves(self.scores, self.images)
        return self.shaped(curves), effort.evaluations

    def curves_of(self, known):
        """The curves through points, by group name and removed count."""
        return self.shaped(curves_of(sizes_of(self.channels), known))

    def shaped(self, curves):
        """The curves, between their points as the criterion expects."""
        by = criteria.DEFAULT_WITH_DATA
        return self.as_expected(curves, by, self.scores)

    def plan(self, curves, ratio, images=None):
        """What stays by some curves, boolean per unit.

        Args:
            curves: The curves.
            ratio: Of the FLOPs.
            images: What plans near that of the curves are tried on. Defaults
                to trying none.
        """
        problem = self.problem(ratio, self.scores, curves)
        if images is None:
            return problem.first.alive
        return self.tried(problem, images, self.seed)

    def validated(self, alive):
        """The validation accuracy of a plan, in percent."""
        images = self.images[0][:2048]
        return self.accuracy(alive, "val", self.validation, images)


def correlations(channels, one, two):
    """Spearman's rank correlation of all losses, and the mean of groups'."""
    from scipy.stats import spearmanr

    shares = np.arange(1, 10) / 10
    rows = [
        [curves.loss(group.name, shares) for group in channels.prunable]
        for curves in (one, two)
    ]
    whole = spearmanr(np.ravel(rows[0]), np.ravel(rows[1])).statistic
    own = [
        spearmanr(a, b).statistic
        for a, b in zip(*rows)
        if np.ptp(a) > 0 and np.ptp(b) > 0
    ]
    return float(whole), float(np.mean(own))


def mobilenet(data, epochs):
    """MobileNetV2 at width 0.35 for images of 32 pixels, trained a little."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.UpSampling2D(2)(x)
    body = keras.applications.MobileNetV2(
        (64, 64, 3), alpha=0.35, weights=None, include_top=False, pooling="avg"
    )
    model = keras.Model(image, keras.layers.Dense(10)(body(x)))
    steps = epochs * (len(data["x_train"]) // 128)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(2e-3, steps)
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        data["x_train"].astype("float32"),
        data["y_train"],
        batch_size=128,
        epochs=epochs,
        verbose=2,
    )
    return model


def bench_of(flags):
    """The net that the command line asks for, with its images."""
    data = cifar10_arrays.load(flags.data)
    if flags.mobilenet:
        model = mobilenet(data, flags.epochs)
    else:
        model = keras.models.load_model(flags.model)
    augmented = not flags.mobilenet
    return Bench(model, data, flags.images, flags.validation, augmented)


def rows(bench, name, tried):
    """The analysis, and a line of the table for each way to plan by it.

    Returns:
        The curves, and the scores: by way to plan, then by ratio.
    """
    start = time.perf_counter()
    curves, evaluations = getattr(bench, name)()
    seconds = bench.scoring + time.perf_counter() - start
    found = []
    for how in (False, True)[: 1 + tried]:
        start = time.perf_counter()
        images = bench.images if how else None
        plans = [bench.plan(curves, ratio, images) for ratio in RATIOS]
        each = (time.perf_counter() - start) / len(RATIOS)
        scores = [bench.validated(alive) for alive in plans]
        print(
            f"| {bench.seed} | {name}{', tried' * how} "
            f"| {seconds + each * how:.0f} | {evaluations:.1f} | "
            + " | ".join(f"{score:.2f}" for score in scores)
            + " |",
            flush=True,
        )
        found.append(scores)
    return curves, found


def compare(fast, full):
    """Prints how much better the plans of the fast analysis are.

    Args:
        fast, full: Scores, shape (seeds, ways to plan, ratios).
    """
    difference = np.subtract(fast, full)
    for number, way in enumerate(("", ", tried")[: difference.shape[1]]):
        better = difference[:, number]
        error = [""] * len(RATIOS)
        if len(better) > 1:
            spread = better.std(axis=0, ddof=1) / np.sqrt(len(better))
            error = [f" ± {one:.2f}" for one in spread]
        texts = [f"{m:+.2f}{e}" for m, e in zip(better.mean(axis=0), error)]
        print(f"| | fast - full{way} | | | {' | '.join(texts)} |")


def memory(bench):
    """Prints by how much the fast analysis lets the process grow."""
    before = _peak()
    _, evaluations = bench.fast()
    print(
        f"peak memory {before:.0f} -> {_peak():.0f} MiB, the work of "
        f"{evaluations:.1f} full evaluations"
    )


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", help="the trained ResNet-20")
    add("--mobilenet", action="store_true")
    add("--epochs", type=int, default=3)
    add("--data", help="see cifar10_arrays.py")
    add("--images", type=int, default=2500)
    add("--validation", type=int, default=5000)
    add("--seeds", type=int, nargs="+", default=[0], help="of the images")
    add("--tried", action="store_true", help="try 16 plans, too")
    add("--memory", action="store_true", help="of the fast analysis alone")
    add("--kept", type=int, default=BYTES, help="bytes of tensors, at most")
    return parser.parse_args()


def main():
    flags = parse()
    trial.Prefixes = functools.partial(Prefixes, limit=flags.kept)
    bench = bench_of(flags)
    if flags.memory:
        bench.choose(flags.seeds[0])
        return memory(bench)
    print(
        "| images | analysis | seconds | full evaluations | "
        + " | ".join(f"validation % at {ratio}" for ratio in RATIOS)
        + " |\n|---|---|---|---|"
        + "---|" * len(RATIOS)
    )
    scores, related = {"fast": [], "full": []}, []
    for seed in flags.seeds:
        bench.choose(seed)
        curves = []
        for name, found in scores.items():
            own, accuracies = rows(bench, name, flags.tried)
            curves.append(own)
            found.append(accuracies)
        related.append(correlations(bench.channels, *curves))
    compare(scores["fast"], scores["full"])
    whole, own = np.mean(related, axis=0)
    print(f"\nrank correlation {whole:.3f} of all losses, {own:.3f} by group")


if __name__ == "__main__":
    main()
