"""Seconds from groups to plan, for every allocation.

    python benchmarks/plan_time.py

The model is read and labelled, and its channels are scored, before the clock
starts; what is timed is what `prune` repeats for every other target: the
table of costs and the plan for half of the FLOPs. Loss curves are made up
(a random steepness each), since planning does not depend on where they come
from. Every figure is the median of `--repeats` runs: seconds by the clock, and
of the processor, which other work on the machine hardly changes.
"""

import argparse
import statistics
import time

MODELS = ("ResNet50", "DenseNet201", "EfficientNetB7")
ALLOCATIONS = ("uniform", "global", "isomorphic", "sensitivity")


def made_up_curves(channels, seed=0):
    """Losses that grow with the removed share, a steepness for each group."""
    import numpy as np

    from tf_channel_prune.analysis import Sensitivity

    rng = np.random.default_rng(seed)
    curves = {}
    for group in channels.prunable:
        steep, bend = rng.uniform(0.01, 0.5), rng.uniform(1, 4)
        curves[group.name] = {
            k / 10: 0.9 - steep * (k / 10) ** bend for k in range(1, 10)
        }
    return Sensitivity(0.9, curves, {g.name: g.size for g in channels.prunable})


def plan(channels, scores, sensitivity, allocation, targets):
    """Times one plan; gives both seconds and the explanation."""
    from tf_channel_prune.cost import CostTable
    from tf_channel_prune.planning import Request

    start = time.perf_counter(), time.process_time()
    table = CostTable(channels)
    request = Request(targets, allocation=allocation)
    choice = request.choose(channels, scores, None, sensitivity, table)
    end = time.perf_counter(), time.process_time()
    return end[0] - start[0], end[1] - start[1], choice.explanation


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--allocations", nargs="+", default=ALLOCATIONS)
    parser.add_argument("--repeats", type=int, default=3)
    flags = parser.parse_args()
    import keras

    from tf_channel_prune import criteria
    from tf_channel_prune.api import channels_of

    print(
        "| model | groups | target | allocation | seconds | of the processor "
        "| over the bound |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in flags.models:
        channels = channels_of(getattr(keras.applications, name)(weights=None))
        scores = criteria.scores(channels)
        curves = made_up_curves(channels)
        for targets in ({"flops": 0.5}, {"flops": 0.5, "params": 0.5}):
            for allocation in flags.allocations:
                runs = [
                    plan(channels, scores, curves, allocation, targets)
                    for _ in range(flags.repeats)
                ]
                seconds, processor = (
                    statistics.median(run[k] for run in runs) for k in (0, 1)
                )
                found = runs[-1][2]
                over = ""
                if found.bound:
                    over = f"{found.loss / found.bound - 1:.1%}"
                print(
                    f"| {name} | {len(channels.prunable)} "
                    f"| {' + '.join(targets)} | {allocation} "
                    f"| {seconds:.2f} | {processor:.2f} | {over} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
