"""What the fast analysis costs and loses against the full one.

    python benchmarks/ana_cost.py --model resnet20.keras --data cifar10.npz
    python benchmarks/ana_cost.py --mobilenet --data cifar10.npz

Both analyses score the same training images: the full one every group at nine
ratios on all `--images` of them, with the running statistics measured anew for
every point; the fast one (`Pruner.ana(data=...)`) what it needs. The plans
that follow are recalibrated and scored on the validation images. The rank
correlation is Spearman's, of the losses of both at all groups and ratios, and
the mean of the groups' own. With `--tried` plans are also the best of 16 near
that of the curves, by the accuracy on the same images, as `tcp.prune(data=...)`
takes them; seconds are then those of the analysis and of one plan. MobileNetV2
(width 0.35, for 32 x 32 images) is trained for `--epochs` first.
"""

import argparse
import dataclasses
import functools
import time

import cifar10_arrays
import numpy as np

RATIOS = (0.3, 0.5, 0.7)


@dataclasses.dataclass
class Bench:
    """A model, its sparse copy and the images."""

    model: object
    data: dict
    images: int
    validation: int
    seed: int = 0

    def __post_init__(self):
        import keras

        from tf_channel_prune import criteria
        from tf_channel_prune import graph as graphs
        from tf_channel_prune.api import channels_of
        from tf_channel_prune.channels import understood
        from tf_channel_prune.cost import CostTable
        from tf_channel_prune.graph.recalibration import Recalibration
        from tf_channel_prune.masking import Masks
        from tf_channel_prune.masking import make_sparse

        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.channels = channels_of(self.model)
        self.scores = criteria.scores(
            self.channels, criteria.DEFAULT_WITH_CURVES
        )
        self.table = CostTable(self.channels)
        self.masks = Masks(make_sparse(self.channels))
        graph = graphs.read(self.masks.model, understood)
        self.recalibration = Recalibration(graph)

    def training(self):
        """The training images that the analyses see."""
        rng = np.random.default_rng(self.seed)
        chosen = rng.permutation(len(self.data["x_train"]))[: self.images]
        return (
            self.data["x_train"][chosen].astype("float32"),
            self.data["y_train"][chosen].astype("int64"),
        )

    def full(self):
        """Every group at nine ratios on all images, from the input on."""
        from tf_channel_prune.analysis import RATIOS as NINE
        from tf_channel_prune.analysis import curves_of
        from tf_channel_prune.analysis import sizes_of
        from tf_channel_prune.analysis import steps
        from tf_channel_prune.graph.trial import Trials

        graph = self.masks.channels.graph
        trials = Trials(graph, self.training(), "loss", self.loss)
        known = {}
        for step in steps(self.channels, self.scores, NINE):
            alive = np.ones(self.channels.unit_count, bool)
            alive[step.dead] = False
            variant = functools.partial(self.masks.trial, alive)
            known[step.key] = float(trials.outcomes(0, [variant])[0].mean())
        return curves_of(sizes_of(self.channels), known), trials.work

    def fast(self):
        """What `Pruner.ana(data=...)` does."""
        from tf_channel_prune.masking.trials import analyse_on_data

        scores = self.scores
        curves, effort = analyse_on_data(
            self.channels,
            lambda channels: scores,
            self.training(),
            metric="loss",
            loss=self.loss,
            masks=self.masks,
        )
        return curves, effort.evaluations

    def plan(self, curves, ratio, tried):
        """What stays by some curves, boolean per unit."""
        from tf_channel_prune.masking.choosing import try_plans
        from tf_channel_prune.masking.trials import plan_scorer
        from tf_channel_prune.planning import Request
        from tf_channel_prune.planning.proposals import Problem

        request = Request(ratio, allocation="sensitivity")
        problem = Problem(
            self.channels, self.scores, request, self.table, curves=curves
        )
        if not tried:
            return problem.first.alive
        measure = plan_scorer(self.masks, self.training())
        return try_plans(problem, measure, seed=self.seed)[1]

    def accuracy(self, alive):
        """The validation accuracy of a plan, in percent."""
        x = self.data["x_val"][: self.validation].astype("float32")
        y = self.data["y_val"][: self.validation]
        with self.masks.trial(alive):
            self.recalibration(self.training()[0], samples=2048)
            predicted = self.masks.model.predict(x, batch_size=250, verbose=0)
        return 100 * float((predicted.argmax(-1) == y.ravel()).mean())


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
    import keras

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


def rows(bench, name, tried):
    """The analysis, and a line of the table for each way to plan by it."""
    start = time.perf_counter()
    curves, evaluations = getattr(bench, name)()
    seconds = time.perf_counter() - start
    for how in (False, True)[: 1 + tried]:
        start = time.perf_counter()
        plans = [bench.plan(curves, ratio, how) for ratio in RATIOS]
        each = (time.perf_counter() - start) / len(RATIOS)
        scores = [bench.accuracy(alive) for alive in plans]
        print(
            f"| {name}{', tried' * how} | {seconds + each * how:.0f} "
            f"| {evaluations:.1f} | "
            + " | ".join(f"{score:.2f}" for score in scores)
            + " |",
            flush=True,
        )
    return curves


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", help="the trained ResNet-20")
    add("--mobilenet", action="store_true")
    add("--epochs", type=int, default=3)
    add("--data", help="see cifar10_arrays.py")
    add("--images", type=int, default=2500)
    add("--validation", type=int, default=5000)
    add("--seed", type=int, default=0, help="of the images")
    add("--tried", action="store_true", help="try 16 plans, too")
    return parser.parse_args()


def main():
    flags = parse()
    import keras

    data = cifar10_arrays.load(flags.data)
    if flags.mobilenet:
        model = mobilenet(data, flags.epochs)
    else:
        model = keras.models.load_model(flags.model)
    bench = Bench(model, data, flags.images, flags.validation, flags.seed)
    print(
        "| analysis | seconds | full evaluations | "
        + " | ".join(f"validation % at {ratio}" for ratio in RATIOS)
        + " |"
    )
    print("|---|---|---|" + "---|" * len(RATIOS))
    fast, full = (rows(bench, name, flags.tried) for name in ("fast", "full"))
    whole, own = correlations(bench.channels, fast, full)
    print(f"\nrank correlation {whole:.3f} of all losses, {own:.3f} by group")


if __name__ == "__main__":
    main()
