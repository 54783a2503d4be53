"""Serves the models that `digits.py` exported, without tf_channel_prune.

It stands for the place where a slim model ends up: TensorFlow, two SavedModels
and nothing else. It writes the slim model's outputs and a small report into
the folder that it is given.
"""

import json
import pathlib
import statistics
import sys
import time

sys.modules["tf_channel_prune"] = None  # from here on, importing it fails

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

WARM_UP, ROUNDS = 20, 200


def latencies(models, x):
    """Median seconds of one call of each model, in turns, on one batch."""
    batch = tf.constant(x)
    times = {name: [] for name in models}
    for round_ in range(WARM_UP + ROUNDS):
        for name, model in models.items():
            start = time.perf_counter()
            model.serve(batch).numpy()
            if round_ >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(spent) for name, spent in times.items()}


def main(folder):
    test = np.load(folder / "test.npz")
    models = {
        name: tf.saved_model.load(str(folder / name))
        for name in ("baseline", "slim")
    }
    report = {name: {} for name in models}
    for name, model in models.items():
        outputs = model.serve(test["x"]).numpy()
        np.save(folder / f"{name}_outputs.npy", outputs)
        hits = outputs.argmax(-1) == test["y"]
        report[name]["accuracy"] = float(hits.mean())
    for size in (1, 64):
        for name, seconds in latencies(models, test["x"][:size]).items():
            report[name][f"latency_{size}"] = seconds
    (folder / "report.json").write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
