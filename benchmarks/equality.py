"""Prunes applications end to end and checks every promise on the way.

    python benchmarks/equality.py                    # full-size inputs
    python benchmarks/equality.py --size 64          # as the tests do

For each model and ratio: the slim model equals the sparse one, the cut is at
least the request and at most one divisor step of one group over it, the input
model keeps its weights, and the slim file predicts the same in a process where
`tf_channel_prune` cannot be imported.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
from prune_time import MODELS
from prune_time import build

LOADER = """
import sys
sys.modules["tf_channel_prune"] = None  # importing it now fails
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], model(x, training=False))
"""


def largest_overshoot(channels, sparse_alive, ratio) -> tuple[float, float]:
    """The share cut, and the least share that one rung could put back.

    No group's last rung can be put back without falling under the request.
    """
    from tf_channel_prune.cost import CostTable
    from tf_channel_prune.planning import Limits

    table = CostTable(channels)
    limits = Limits()
    full = table.total(table.sizes, "flops")
    counts = np.array([sparse_alive[g.units].sum() for g in channels.prunable])
    cost = table.total(counts, "flops")
    cheapest = np.inf
    for g, group in enumerate(channels.prunable):
        ladder = limits.ladder(group.size)
        higher = ladder[ladder > counts[g]]
        if higher.size:
            trial = counts.copy()
            trial[g] = higher.min()
            cheapest = min(cheapest, table.total(trial, "flops") - cost)
    return 1 - cost / full, cheapest / full


def check(name: str, ratio: float, size: int | None, folder: str) -> dict:
    """Prunes one model at one ratio.

    Raises:
        AssertionError: If a promise is broken.
    """
    import tf_channel_prune as tcp
    from tf_channel_prune.api import channels_of
    from tf_channel_prune.graph.inputs import random_inputs
    from tf_channel_prune.masking import Masks
    from tf_channel_prune.transform import compare

    model = build(name, size)
    before = [w.numpy() for w in model.weights]
    sparse = tcp.prune(model, ratio)
    slim = tcp.transform(sparse)
    for old, weight in zip(before, model.weights):
        np.testing.assert_array_equal(old, weight.numpy())
    alive = Masks(sparse).alive()
    cut, rung = largest_overshoot(channels_of(model), alive, ratio)
    real = 1 - tcp.cost(slim).flops / tcp.cost(model).flops
    assert abs(real - cut) < 1e-9, (real, cut)
    assert ratio <= cut < ratio + rung, (ratio, cut, rung)
    x = random_inputs(model)
    difference = compare(sparse, slim, x)
    assert difference.relative < 1e-4, difference
    dense = compare(model, slim, x)
    loaded = load_elsewhere(slim, x, folder)
    np.testing.assert_allclose(
        loaded, slim(x, training=False), rtol=1e-5, atol=1e-7
    )
    return {
        "cut": cut,
        "rung": rung,
        "difference": difference.relative,
        "changed": dense.relative,
    }


def load_elsewhere(slim, x, folder):
    """The saved model's outputs in a process without this package."""
    paths = [os.path.join(folder, f) for f in ("slim.keras", "x.npy", "y.npy")]
    slim.save(paths[0])
    np.save(paths[1], x)
    subprocess.run([sys.executable, "-c", LOADER, *paths], check=True)
    return np.load(paths[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument(
        "--ratios", nargs="+", type=float, default=(0.3, 0.5, 0.7)
    )
    parser.add_argument("--size", type=int, help="side of the input images")
    flags = parser.parse_args()
    print("| model | ratio | cut | slim - sparse | dense - slim |")
    print("|---|---|---|---|---|")
    for name in flags.models:
        for ratio in flags.ratios:
            with tempfile.TemporaryDirectory() as folder:
                row = check(name, ratio, flags.size, folder)
            print(
                f"| {name} | {ratio} | {row['cut']:.4f} "
                f"| {row['difference']:.1e} | {row['changed']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
