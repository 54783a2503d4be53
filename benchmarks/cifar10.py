"""Accuracy of pruned CIFAR-10 ResNets after fine-tuning.

    python benchmarks/cifar10.py --model resnet20.keras --data cifar10.npz \\
        --out runs/cifar10 --methods naive default --ratios 0.5 --epochs 15

Every method removes the same share of the FLOPs and trains for the same
number of epochs on the same augmented images; what counts is the model after
the last epoch, on images that nothing was chosen on.

- naive: the same share of every group, by the L1 norm, in one shot; then the
  slim model is trained at a constant small rate that drops twice;
- default: `tcp.prune` with data, then the slim model at a cosine;
- distilled: the same with the unpruned model as the teacher;
- learned: a third of the epochs go to `GroupSparsity` before pruning;
- iterated: three rounds of pruning, a third of the epochs after each.

Without `--model` a net of `--depth` layers is trained from scratch first
(`--baseline-epochs`), with any Keras backend. Killed, the same command goes
on; results are lines of JSON in OUT/results.jsonl, a method and ratio that is
there is not run again. `--limit` makes a trial of seconds.
"""

import argparse
import json
import os
import pathlib
import time

import keras
import numpy as np
from cifar10_data import Augmented
from cifar10_data import correct
from cifar10_data import load
from cifar10_data import paired
from cifar10_nets import resnet

import tf_channel_prune as tcp
from tf_channel_prune import graph
from tf_channel_prune.finetune import finetune
from tf_channel_prune.graph.digests import weights_digest


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Bench:
    """The baseline, the data, and a folder for everything."""

    def __init__(self, flags):
        self.flags = flags
        self.out = pathlib.Path(flags.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.choices = pathlib.Path(flags.choices or flags.out)
        self.choices.mkdir(parents=True, exist_ok=True)
        # Without XLA, Keras on JAX runs every operation by itself.
        self.jit = flags.jit or keras.backend.backend() == "jax"
        self.data = load(flags.data, flags.limit)
        self.images = Augmented(*self.data.train, seed=flags.seed)
        self.baseline = self._baseline()
        self.flops = tcp.cost(self.baseline).flops
        self.right = self._correct("baseline", self.baseline)

    def _baseline(self):
        if self.flags.model:
            model = keras.models.load_model(self.flags.model)
        else:
            model = self._trained(self.out / "baseline.keras")
        model.compile(loss=loss(), jit_compile=self.jit)
        return model

    def _trained(self, path):
        if path.exists():
            return keras.models.load_model(path)
        keras.utils.set_random_seed(self.flags.seed)
        model = resnet(self.flags.depth)
        model.compile(loss=loss(), jit_compile=self.jit)
        epochs = self.flags.baseline_epochs
        recipe = tcp.Recipe(
            0.1, epochs=epochs, weight_decay=self.flags.weight_decay
        )
        model = self.train(model, recipe, "baseline")[0]
        model.save(path)
        return model

    def train(self, model, recipe, name, **options):
        """The trained model and the seconds that it took."""
        done = []

        def advance(what):
            done.append(what)
            print(f"{name}: {what} ({len(done)}/{recipe.epochs})", flush=True)

        outcome = finetune(
            model,
            self.images,
            recipes=recipe,
            folder=self.out / name,
            seed=self.flags.seed,
            advance=advance,
            **options,
        )
        return outcome.model, outcome.trial.seconds

    def _correct(self, name, model):
        right = correct(model, self.data.held_out)
        np.save(self.out / f"{name}-correct.npy", right)
        return right

    def recipe(self, epochs, rate=0.05, decay="cosine", weight_decay=None):
        if weight_decay is None:
            weight_decay = self.flags.weight_decay
        return tcp.Recipe(rate, decay, epochs, weight_decay=weight_decay)

    def result(self, method, ratio):
        name = f"{method}-{ratio:g}-{self.flags.epochs}"
        start = time.monotonic()
        model, seconds = METHODS[method](self, ratio, name)
        right = self._correct(name, model)
        model.save(self.out / f"{name}.keras")
        points, error = paired(right, self.right)
        return {
            "method": method,
            "ratio": ratio,
            "epochs": self.flags.epochs,
            "images": len(self.images.y),
            "seed": self.flags.seed,
            "removed": 1 - tcp.cost(model).flops / self.flops,
            "params": int(model.count_params()),
            "held_out": len(right),
            "baseline": 100 * float(self.right.mean()),
            "accuracy": 100 * float(right.mean()),
            "change": points,
            "change_error": error,
            "training_seconds": seconds,
            "seconds": time.monotonic() - start,
        }


def pruned(bench, model, ratio):
    """The slim model by our default: loss curves on images for choosing.

    It is kept for other seeds and numbers of epochs, by the weights that it
    was chosen from.
    """
    digest = weights_digest(graph.read(model))
    path = bench.choices / f"slim-{digest[:12]}-{ratio:.4f}.keras"
    if not path.exists():
        model.compile(loss=loss(), jit_compile=bench.jit)
        slim = tcp.transform(tcp.prune(model, ratio, data=bench.data.choosing))
        new = path.with_suffix(f".{os.getpid()}.keras")
        slim.save(new, include_optimizer=False)
        new.replace(path)
    slim = keras.models.load_model(path)
    slim.compile(loss=loss(), jit_compile=bench.jit)
    return slim


def naive(bench, ratio, name):
    slim = tcp.transform(
        tcp.prune(bench.baseline, ratio, criterion="l1", allocation="uniform")
    )
    recipe = bench.recipe(bench.flags.epochs, 0.01, "step", 0.0)
    return bench.train(slim, recipe, name)


def default(bench, ratio, name, **options):
    slim = pruned(bench, bench.baseline, ratio)
    return bench.train(slim, bench.recipe(bench.flags.epochs), name, **options)


def distilled(bench, ratio, name):
    return default(bench, ratio, name, distill=bench.baseline)


def learned(bench, ratio, name):
    first = max(bench.flags.epochs // 3, 1)
    ready, spent = bench.train(
        bench.baseline,
        bench.recipe(first, 0.02, "constant"),
        f"{name}-learning",
        callbacks=[tcp.callbacks.GroupSparsity(bench.flags.strength)],
    )
    slim = pruned(bench, ready, ratio)
    recipe = bench.recipe(max(bench.flags.epochs - first, 1))
    slim, seconds = bench.train(slim, recipe, name)
    return slim, spent + seconds


def iterated(bench, ratio, name, rounds=3):
    """Each round starts from the slim model of the one before."""
    slim, spent = bench.baseline, 0.0
    epochs = max(bench.flags.epochs // rounds, 1)
    for number in range(1, rounds + 1):
        left = bench.flops * (1 - ratio) ** (number / rounds)
        share = 1 - left / tcp.cost(slim).flops
        if share > 0:
            slim = pruned(bench, slim, share)
        recipe = bench.recipe(epochs)
        slim, seconds = bench.train(slim, recipe, f"{name}-{number}")
        spent += seconds
    return slim, spent


METHODS = {
    "naive": naive,
    "default": default,
    "distilled": distilled,
    "learned": learned,
    "iterated": iterated,
}


def compare(bench, rows):
    """Prints the table, and each method against naive on the same images."""
    print(
        "| method | FLOPs removed | epochs | accuracy | change | "
        "against naive | s / epoch |\n|---|---|---|---|---|---|---|"
    )
    for row in rows:
        naive_name = f"naive-{row['ratio']:g}-{row['epochs']}"
        path = bench.out / f"{naive_name}-correct.npy"
        against = ""
        if path.exists() and row["method"] != "naive":
            name = f"{row['method']}-{row['ratio']:g}-{row['epochs']}"
            mine = np.load(bench.out / f"{name}-correct.npy")
            against = "{:+.2f} ± {:.2f}".format(*paired(mine, np.load(path)))
        print(
            f"| {row['method']} | {row['removed']:.1%} | {row['epochs']} "
            f"| {row['accuracy']:.2f} | {row['change']:+.2f} ± "
            f"{row['change_error']:.2f} | {against} "
            f"| {row['training_seconds'] / row['epochs']:.0f} |"
        )


def step_times(bench, ratio, steps=30):
    """Seconds a training step, models taking turns: median of the steps."""
    sparse = tcp.prune(
        bench.baseline,
        dict.fromkeys(bench.flags.of, ratio),
        data=bench.data.choosing,
    )
    models = {
        "dense": keras.models.clone_model(bench.baseline),
        "sparse": sparse,
        "slim": tcp.transform(sparse),
    }
    x, y = bench.images(0)[0]
    times: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            loss(),
            jit_compile=bench.jit,
        )
        model.train_on_batch(x, y)
    for _ in range(steps):
        for name, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(x, y)
            times[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(t)) for name, t in times.items()}
    paired_ratio = {
        name: float(np.median(np.divide(times[name], times["dense"])))
        for name in models
    }
    print(json.dumps({"step_seconds": medians, "of_dense": paired_ratio}))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", help="a trained .keras file; else one is trained")
    add("--data", help="an .npz; else keras.datasets")
    add("--out", default="runs/cifar10")
    add("--choices", help="where pruned models are kept; defaults to OUT")
    add("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    add("--ratios", nargs="+", type=float, default=[0.5])
    add("--epochs", type=int, default=15)
    add("--depth", type=int, default=56)
    add("--baseline-epochs", type=int, default=182)
    add("--weight-decay", type=float, default=5e-3)
    add("--strength", type=float, default=5e-3, help="of sparsity learning")
    add("--seed", type=int, default=0)
    add("--limit", type=int, help="the most images of each part")
    add("--jit", action="store_true", help="compile with XLA")
    add("--step-times", action="store_true", help="only measure steps")
    add("--of", nargs="+", default=["flops"], help="budgets of --step-times")
    return parser.parse_args()


def main():
    bench = Bench(parse())
    if bench.flags.step_times:
        step_times(bench, bench.flags.ratios[0])
        return
    path = bench.out / "results.jsonl"
    rows = [json.loads(line) for line in _lines(path)]
    for ratio in bench.flags.ratios:
        for method in bench.flags.methods:
            key = (method, ratio, bench.flags.epochs)
            if key in {(r["method"], r["ratio"], r["epochs"]) for r in rows}:
                continue
            rows.append(bench.result(method, ratio))
            text = "".join(json.dumps(row) + "\n" for row in rows)
            # The same folder, so that the replacement is one step.
            new = path.with_suffix(".new")
            new.write_text(text)
            new.replace(path)
            print(json.dumps(rows[-1]), flush=True)
    compare(bench, rows)


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
