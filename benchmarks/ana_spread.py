"""Whether plans of the fast analysis are worse, over many choices of images.

    python benchmarks/ana_spread.py --model resnet20.keras --data cifar10.npz \\
        --scores resnet20.npz
    python benchmarks/ana_spread.py --mobilenet --data cifar10.npz \\
        --scores mobilenet.npz --images 3000

Every group is scored at nine ratios on `--images` training images once, batch
by batch; that takes as long as a full analysis of them, and is kept in
`--scores`, to which a killed run adds what is missing. Then both analyses look
at `--batches` random ones of these batches, `--choices` times, and a plan by
each is recalibrated and scored on the validation images. Differences are of
plans by the same batches. Choices share batches, so that their standard error
is a little too small. Plans of nearly the same sum of losses differ by points
when they are run, so that sum, by all points on all images, is printed for the
plans of both, too. With `--tried` a plan is the best of 16 near that of the
curves, by the accuracy on the same batches, as `tcp.prune(data=...)` takes it.
The time that both take is ana_cost.py's.
"""

import argparse
import pathlib

import numpy as np
from ana_cost import RATIOS
from ana_cost import bench_of

from tf_channel_prune.analysis import RATIOS as NINE
from tf_channel_prune.analysis import removed_at
from tf_channel_prune.analysis.fast import InMemory
from tf_channel_prune.analysis.fast import analyse_fast
from tf_channel_prune.analysis.run import BASELINE
from tf_channel_prune.masking.trials import GroupTrials

BATCH = 250  # what GroupTrials makes of arrays


class Recorded:
    """The mean score of every batch at every point.

    Args:
        bench: The model, with its images chosen.
        path: An .npz file: by `group:removed`, shape (batches,).
    """

    def __init__(self, bench, path):
        self.bench = bench
        self.path = path
        self.rows = dict(np.load(path)) if path.exists() else {}

    def fill(self):
        """Scores what is missing, group by group."""
        bench = self.bench
        trials = GroupTrials(
            bench.masks, bench.scores, bench.images, "loss", bench.loss
        )
        for group in (None, *bench.channels.prunable):
            counts = [0] if group is None else _counts(group)
            names = [_name(group, count) for count in counts]
            if all(name in self.rows for name in names):
                continue
            found = trials(group, counts)
            batches = found.reshape(len(counts), -1, BATCH).mean(axis=2)
            self.rows.update(zip(names, batches))
            new = self.path.with_suffix(".new.npz")
            np.savez(new, **self.rows)
            new.replace(self.path)
            print("scored", names[-1], flush=True)

    def fast(self, batches):
        """What the fast analysis finds by some of the batches."""

        def outcomes(group, counts):
            return np.array(
                [self.rows[_name(group, count)][batches] for count in counts]
            )

        curves, effort = analyse_fast(
            self.bench.channels, outcomes, InMemory(), NINE
        )
        return self.bench.shaped(curves), effort.points

    def full(self, batches):
        """The curves through all points."""
        known = {(BASELINE, 0): self._mean("baseline:0", batches)}
        for group in self.bench.channels.prunable:
            for count in _counts(group):
                known[group.name, count] = self._mean(
                    _name(group, count), batches
                )
        return self.bench.curves_of(known), len(known)

    def _mean(self, name, batches):
        return float(self.rows[name][batches].mean())


def _counts(group):
    counts = dict.fromkeys(removed_at(group.size, ratio) for ratio in NINE)
    return [count for count in counts if count]


def _name(group, count):
    return f"{group.name if group else 'baseline'}:{count}"


def sum_of_losses(bench, curves, alive):
    """What a plan loses if every group loses what it does alone."""
    gone = zip(bench.channels.prunable, bench.table.counts(alive))
    return float(
        sum(curves.loss(g.name, [1 - left / g.size])[0] for g, left in gone)
    )


def of_batches(arrays, batches):
    """What some batches hold of the arrays."""
    rows = np.concatenate([np.arange(BATCH) + b * BATCH for b in batches])
    return tuple(array[rows] for array in arrays)


def compare(bench, recorded, choices, count, tried):
    """Prints the mean accuracy of plans by both analyses, and their losses."""
    total = len(recorded.rows["baseline:0"])
    best, _ = recorded.full(np.arange(total))
    known, scores, points, losses = {}, [], [], []
    for number in range(choices):
        rng = np.random.default_rng(number)
        batches = rng.choice(total, count, replace=False)
        images = of_batches(bench.images, batches) if tried else None
        rows = []
        for analysis in (recorded.fast, recorded.full):
            curves, scored = analysis(batches)
            points.append(scored)
            rows.append([])
            losses.append([])
            for ratio in RATIOS:
                alive = bench.plan(curves, ratio, images)
                key = alive.tobytes()
                if key not in known:
                    known[key] = bench.validated(alive)
                rows[-1].append(known[key])
                losses[-1].append(sum_of_losses(bench, best, alive))
        scores.append(rows)
        print(number, points[-2:], rows, flush=True)
    fast, full = np.moveaxis(scores, 1, 0)
    print(f"points: {np.mean(points[::2]):.0f}, {np.mean(points[1::2]):.0f}")
    for name, found in {"fast": fast, "full": full, "-": fast - full}.items():
        error = found.std(axis=0, ddof=1) / np.sqrt(choices)
        text = [f"{m:.2f} ± {e:.2f}" for m, e in zip(found.mean(0), error)]
        print(f"| {name} | {' | '.join(text)} |")
    for name, found in (("fast", losses[::2]), ("full", losses[1::2])):
        text = [f"{mean:.3f}" for mean in np.mean(found, axis=0)]
        print(f"| {name}, sum of losses | {' | '.join(text)} |")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", help="a trained model")
    add("--mobilenet", action="store_true", help="train a MobileNetV2 first")
    add("--epochs", type=int, default=3)
    add("--data", help="see cifar10_arrays.py")
    add("--scores", type=pathlib.Path, default=pathlib.Path("scores.npz"))
    add("--images", type=int, default=2500)
    add("--batches", type=int, default=4, help="that an analysis looks at")
    add("--choices", type=int, default=10)
    add("--tried", action="store_true", help="the best of 16 plans")
    add("--validation", type=int, default=5000)
    return parser.parse_args()


def main():
    flags = parse()
    bench = bench_of(flags)
    bench.choose(0)
    recorded = Recorded(bench, flags.scores)
    recorded.fill()
    compare(bench, recorded, flags.choices, flags.batches, flags.tried)


if __name__ == "__main__":
    main()
