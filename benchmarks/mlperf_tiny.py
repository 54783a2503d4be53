"""The five reference models of MLPerf Tiny, pruned by half of their FLOPs.

    python benchmarks/mlperf_tiny.py --models FOLDER --kws kws01_test.npz \\
        --cifar cifar10.npz

FOLDER holds the .h5 files of mlcommons/tiny. For each: the slim model equals
the sparse one, and its file predicts the same in a process where
`tf_channel_prune` cannot be imported.

The models are compared without their last softmax, which hides differences
where it saturates.

With `--kws` (arrays x (n, 49, 10, 1) and y) and `--cifar` (see
`cifar10_arrays`), accuracy against ratio, without fine-tuning; recalibrated:
with the statistics of BatchNormalization measured anew on the inputs that were
chosen on. No plan is measured on samples that it was chosen on:

- keyword spotting: there are test clips alone, so they are halved at random;
  each half is measured with the plans that were chosen on the other;
- image classification: chosen on the last part of the training images, which
  the reference model was trained on; measured on test images.
"""

import argparse
import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile

import cifar10_arrays
import numpy as np
from cifar10_data import paired

KWS = "kws_ref_model"
RESNET = "pretrainedResnet"
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
LOADER = """
import sys
sys.modules["tf_channel_prune"] = None  # importing it now fails
import tf_keras, numpy as np
model = tf_keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], model(x, training=False))
"""


def load(path):
    from tf_channel_prune.graph.loading import load_model

    return load_model(path)


def check(path, ratio, folder, x=None) -> dict:
    """Prunes one model and follows it to a process without this package.

    Args:
        path: The model file.
        ratio: The share of the FLOPs to remove.
        folder: For the slim model.
        x: Real inputs, where there are some. Defaults to random ones.

    Raises:
        AssertionError: If a promise is broken.
    """
    import tf_keras

    import tf_channel_prune as tcp
    from tf_channel_prune.graph.inputs import random_inputs
    from tf_channel_prune.transform import compare

    model = load(path)
    model.layers[-1].activation = tf_keras.activations.linear
    sparse = tcp.prune(model, ratio)
    slim = tcp.transform(sparse, samples=x)
    x = random_inputs(model) if x is None else x
    difference = compare(sparse, slim, x)
    assert difference.relative < 1e-4, difference
    files = [str(folder / f) for f in ("slim.keras", "x.npy", "y.npy")]
    slim.save(files[0])
    np.save(files[1], x)
    subprocess.run([sys.executable, "-c", LOADER, *files], check=True)
    found = np.load(files[2])
    np.testing.assert_allclose(found, slim(x), rtol=1e-5, atol=1e-6)
    cut = 1 - tcp.cost(slim).flops / tcp.cost(model).flops
    assert cut >= ratio, cut
    return {
        "cut": cut,
        "params": (model.count_params(), slim.count_params()),
        "difference": difference.relative,
        "changed": compare(model, slim, x).relative,
    }


def curve(path, folds, ratios) -> dict:
    """Whether each sample is classified right, with ever more removed.

    Args:
        path: The model file.
        folds: Pairs of (what is chosen on, what is measured on), each of
            those inputs and labels.
        ratios: Shares of the FLOPs to remove.

    Returns:
        By way of choosing a list of hits on the samples of all folds: of the
        dense model, then one for each ratio.
    """
    model = load(path)
    found: dict[str, list] = {}
    for choosing, measured in folds:
        for way, models in candidates(model, choosing, ratios).items():
            mine = [hits(candidate, measured) for candidate in models]
            found.setdefault(way, []).append(mine)
    return {
        way: [np.concatenate(parts) for parts in zip(*by_fold)]
        for way, by_fold in found.items()
    }


def candidates(model, choosing, ratios) -> dict:
    """By way of choosing: the dense model, then a sparse one for each ratio."""
    import tf_channel_prune as tcp

    with tempfile.TemporaryDirectory() as folder:
        pruner = tcp.Pruner(model, folder)
        pruner.ana(lambda m: score(m, choosing), progress=False)
        by_ana = [model, *(pruner.prune(ratio) for ratio in ratios)]
    return {
        "no analysis": [model, *(tcp.prune(model, ratio) for ratio in ratios)],
        "ana": by_ana,
        "ana, recalibrated": [
            tcp.recalibrate(sparse, choosing[0]) for sparse in by_ana
        ],
    }


def hits(model, part):
    x, y = part
    return predictions(model, x).argmax(-1) == y


def score(model, part) -> float:
    """Minus the loss: finer than the accuracy on some hundred samples."""
    x, y = part
    chosen = predictions(model, x)[np.arange(len(y)), y]
    return float(np.log(np.maximum(chosen, 1e-7)).mean())


def predictions(model, x):
    return model.predict(x, batch_size=250, verbose=0)


def halves(x, y, seed=0):
    """Two folds: either half chosen on, the other one measured."""
    order = np.random.default_rng(seed).permutation(len(y))
    one, other = ((x[p], y[p]) for p in np.array_split(order, 2))
    return [(one, other), (other, one)]


def keyword_folds(path, limit=None):
    with np.load(path) as file:
        return halves(file["x"][:limit], file["y"][:limit].astype(int))


def cifar_folds(path, limit=None):
    """One fold: a thousand training images, and all test images."""
    arrays = cifar10_arrays.load(path)
    parts = []
    for part, count in (("val", 1000), ("test", None)):
        end = min(filter(None, (limit, count)), default=None)
        x = arrays[f"x_{part}"][:end].astype("float32")
        parts.append((x, arrays[f"y_{part}"][:end].astype(int)))
    return [tuple(parts)]


def print_curve(title, ways, ratios):
    dense = next(iter(ways.values()))[0]
    print(f"\n{title}: accuracy on {len(dense)} samples (points lost)\n")
    print("| FLOPs removed | " + " | ".join(ways) + " |")
    print("|---" * (1 + len(ways)) + "|")
    for i, ratio in enumerate((0, *ratios)):
        cells = []
        for way in ways.values():
            points, error = paired(way[i], dense)
            cells.append(f"{way[i].mean():.1%} ({points:+.1f} ± {error:.1f})")
        print(f"| {ratio:.0%} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--kws", help="the keyword clips, an .npz file")
    parser.add_argument("--cifar", help="CIFAR-10, an .npz file")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--limit", type=int, help="samples, for trials")
    flags = parser.parse_args()
    folds = {}
    if flags.kws:
        folds[KWS] = keyword_folds(flags.kws, flags.limit)
    if flags.cifar:
        folds[RESNET] = cifar_folds(flags.cifar, flags.limit)
    print("| model | inputs | cut | params | slim - sparse | dense - slim |")
    print("|---|---|---|---|---|---|")
    for path in sorted(flags.models.glob("*.h5")):
        mine = [f for name, f in folds.items() if name in path.stem]
        x = mine[0][0][1][0][:64] if mine else None
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            row = check(path, flags.ratio, pathlib.Path(folder), x)
        dense, slim = row["params"]
        print(
            f"| {path.stem} | {'random' if x is None else 'real'} "
            f"| {row['cut']:.4f} | {dense:,} -> {slim:,} "
            f"| {row['difference']:.1e} | {row['changed']:.2f} |",
            flush=True,
        )
    for name, pairs in folds.items():
        [path] = flags.models.glob(f"*{name}*.h5")
        with contextlib.redirect_stdout(io.StringIO()):
            ways = curve(path, pairs, flags.ratios)
        print_curve(path.stem, ways, flags.ratios)


if __name__ == "__main__":
    main()
