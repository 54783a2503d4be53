"""How long pruning and rebuilding take, beside Keras' own clone.

    python benchmarks/prune_time.py --models ResNet50 DenseNet121

Every figure is the median of `--repeats` runs in one process:

- plan: read + label + group + rank + plan for half of the FLOPs;
- rebuild: the slim model of a sparse one, not compared;
- transform: the same with the comparison that `tcp.transform` always makes;
- clone: `keras.models.clone_model` + `set_weights` of the dense model, the
  yardstick, measured in pairs with the rebuild;
- peak: the most memory that prune + transform take beyond the model that is
  there, in multiples of the model's weights, in a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODELS = ("ResNet50", "MobileNetV2", "VGG16", "DenseNet121")


def build(name, size=None):
    """The model with statistics and biases that are not at their defaults.

    The last layer gives logits: a softmax over 1,000 classes would hide any
    difference.
    """
    import keras
    import numpy as np

    shape = None if size is None else (size, size, 3)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=shape, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for weight in model.weights:
        kind = weight.path.rsplit("/", 1)[-1]
        if kind in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif kind in ("beta", "bias", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def tiny():
    import keras

    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 3)(image)
    return keras.Model(image, keras.layers.Conv2D(2, 1)(x))


def timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def plan(model):
    from tf_channel_prune import criteria
    from tf_channel_prune.api import channels_of
    from tf_channel_prune.planning import plan_for_ratio

    channels = channels_of(model)
    scores = criteria.scores(channels, "l2")
    return plan_for_ratio(channels, scores, 0.5)


def rebuild(sparse):
    from tf_channel_prune.masking import Masks
    from tf_channel_prune.transform import make_slim

    masks = Masks(sparse)
    return make_slim(masks.channels, masks.alive())


def clone(model):
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def peak(name) -> dict:
    """Memory of prune + transform over the weights (run in a new process)."""
    import tf_channel_prune as tcp

    model = build(name)
    weights = sum(w.numpy().nbytes for w in model.weights)
    # What imports take, and what running the model takes, is not counted.
    tcp.transform(tcp.prune(tiny(), 0.5))
    model(model_input(model))
    before = resident("VmRSS")
    # Linux forgets the peak so far when 5 is written here.
    Path("/proc/self/clear_refs").write_text("5")
    tcp.transform(tcp.prune(model, 0.5))
    return {"weights": weights, "over": (resident("VmHWM") - before) / weights}


def resident(field) -> int:
    """Bytes of memory that this process holds now, or held at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def model_input(model):
    from tf_channel_prune.graph.inputs import random_inputs

    return random_inputs(model)


def times(name, repeats) -> dict:
    import tf_channel_prune as tcp

    model = build(name)
    sparse = tcp.prune(model, 0.5)
    rebuild(sparse)  # the first run pays for imports and caches
    clone(model)
    rows = {"plan": [], "rebuild": [], "transform": [], "clone": []}
    for _ in range(repeats):
        rows["plan"].append(timed(plan, model)[0])
        rows["clone"].append(timed(clone, model)[0])
        rows["rebuild"].append(timed(rebuild, sparse)[0])
        rows["transform"].append(timed(tcp.transform, sparse)[0])
    return {key: statistics.median(values) for key, values in rows.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", help="print the memory of one model")
    flags = parser.parse_args()
    if flags.peak:
        print(json.dumps(peak(flags.peak)))
        return
    print(
        "| model | plan s | rebuild s | transform s | clone s "
        "| rebuild / clone | transform / clone | peak / weights |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in flags.models:
        row = times(name, flags.repeats)
        out = subprocess.run(
            [sys.executable, __file__, "--peak", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        over = json.loads(out.splitlines()[-1])["over"]
        print(
            f"| {name} | {row['plan']:.3f} | {row['rebuild']:.2f} "
            f"| {row['transform']:.2f} | {row['clone']:.2f} "
            f"| {row['rebuild'] / row['clone']:.2f} "
            f"| {row['transform'] / row['clone']:.2f} | {over:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
