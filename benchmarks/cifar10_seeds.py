"""Methods of cifar10.py over several seeds, on the same images.

    python benchmarks/cifar10_seeds.py runs/seed1 runs/seed2 --ratio 0.5 \\
        --epochs 40 --method distilled --against naive

Each folder is an `--out` of cifar10.py, with a seed of its own. An image counts
as right as often as the nets of one method are right on it, in the mean over
the seeds. The standard error of the difference is over images, so it says how
much these images may flatter a method; how much training differs from seed to
seed is the spread that is printed beside it.
"""

import argparse
import pathlib

import numpy as np
from cifar10_data import paired


def found(folders, name):
    """Which images each seed's net is right on, shape (seeds, images)."""
    paths = [folder / f"{name}-correct.npy" for folder in folders]
    rows = [np.load(path) for path in paths if path.exists()]
    if not rows:
        raise SystemExit(f"No folder has {name}-correct.npy.")
    return np.array(rows, float)


def compare(name, rows, others):
    """Prints the mean difference to others, in points."""
    points, error = paired(rows.mean(0), others.mean(0))
    own = 100 * rows.mean(1)
    print(
        f"{name}: {len(rows)} against {len(others)} seeds, "
        f"{own.mean():.2f} (each {', '.join(f'{one:.2f}' for one in own)}) "
        f"against {100 * others.mean():.2f}: {points:+.2f} ± {error:.2f}"
    )


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folders", nargs="+", type=pathlib.Path)
    add("--method", default="distilled")
    add("--against", default="naive")
    add("--ratio", type=float, default=0.5)
    add("--epochs", type=int, default=40)
    return parser.parse_args()


def main():
    flags = parse()
    tail = f"{flags.ratio:g}-{flags.epochs}"
    one = found(flags.folders, f"{flags.method}-{tail}")
    other = found(flags.folders, f"{flags.against}-{tail}")
    baseline = found(flags.folders, "baseline")[:1]
    compare(f"{flags.method} - {flags.against}", one, other)
    compare(f"{flags.method} - baseline", one, baseline)
    compare(f"{flags.against} - baseline", other, baseline)


if __name__ == "__main__":
    main()
