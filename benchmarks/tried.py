"""How much better than that of the curves a plan must be, to be taken.

    python benchmarks/tried.py --model resnet20.keras --data cifar10.npz \\
        --out tried.jsonl
    python benchmarks/tried.py --out tried.jsonl --table

Of 16 plans near that of the curves, `tcp.prune(data=...)` takes the best by its
score on the data where it is better by `ERRORS` standard errors of the paired
scores (planning/candidates.py). Here the same 16 plans are judged with several
such numbers, and what each takes is scored on the validation images as in
choice.py. `--table` prints the mean gain over the plan of the curves and its
standard error over all criteria and seeds. Results are added to `--out`, one
line each; what is there already is not computed again.
"""

import argparse
import pathlib

import cifar10_arrays
import keras
import numpy as np
from choice import RATIOS
from choice import Bench
from choice import read
from choice import write
from cifar10_masked import TRIED

from tf_channel_prune.masking.trials import plan_scorer
from tf_channel_prune.planning.candidates import Candidates
from tf_channel_prune.planning.proposals import climb
from tf_channel_prune.planning.proposals import proposals

ERRORS = (0.0, 0.5, 1.0, 1.5, 2.0)


def judged(bench, name, ratio, seed, curves):
    """Validation accuracy of what every number takes, by its name."""
    problem = bench.problem(ratio, bench.scored(name, seed), curves)
    measure = plan_scorer(bench.masks, bench.analysis(seed))

    def score(alive, number):
        return measure(alive)

    plans = proposals(problem, seed)
    found = climb(plans, score, TRIED)
    candidates = Candidates.of(problem, plans.how, found)
    chosen = {
        str(errors): candidates.best_by(errors).number for errors in ERRORS
    }
    known = {
        number: bench.recalibrated(found[number][0], "val", seed)
        for number in {0, *chosen.values()}
    }
    return {
        "curves": known[0],
        **{errors: known[number] for errors, number in chosen.items()},
    }


def run(flags):
    bench = Bench(
        keras.models.load_model(flags.model),
        cifar10_arrays.load(flags.data),
    )
    known = {tuple(row["cell"]) for row in read(flags.out)}
    for seed in range(flags.seeds):
        for name in flags.criteria:
            todo = [r for r in RATIOS if (name, r, seed) not in known]
            curves = bench.analysed(name, seed) if todo else None
            for ratio in todo:
                found = judged(bench, name, ratio, seed, curves)
                write(flags.out, {"cell": (name, ratio, seed), "taken": found})
                print(name, ratio, seed, found, flush=True)


def table(path):
    """Mean gain over the plan of the curves, a row a number of errors."""
    rows = read(path)
    print("| standard errors |" + "".join(f" at {r:.0%} |" for r in RATIOS))
    print("|---|" + "---|" * len(RATIOS))
    for errors in map(str, ERRORS):
        cells = []
        for ratio in RATIOS:
            gains = [
                row["taken"][errors] - row["taken"]["curves"]
                for row in rows
                if row["cell"][1] == ratio
            ]
            error = np.std(gains, ddof=1) / np.sqrt(len(gains))
            cells.append(f"{np.mean(gains):+.1f} ± {error:.1f}")
        print(f"| {errors} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="the trained ResNet-20")
    parser.add_argument("--data", help="see cifar10_arrays.py")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("tried.jsonl")
    )
    parser.add_argument(
        "--criteria", nargs="+", default=["l1", "l2", "fpgm", "lamp"]
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    flags = parser.parse_args()
    if flags.table:
        table(flags.out)
    else:
        run(flags)


if __name__ == "__main__":
    main()
