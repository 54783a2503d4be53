"""Thousands of random models: `python tests/fuzz/run_fuzz.py --count 2000`."""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fuzz_check import double_precision
from fuzz_check import try_seed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--stop", type=int, default=5, help="after failures")
    given = parser.parse_args()
    counts: collections.Counter = collections.Counter()
    groups = moved = 0
    started = time.monotonic()
    with double_precision():
        for seed in range(given.seed, given.seed + given.count):
            outcome = try_seed(seed)
            counts[outcome.status] += 1
            groups += outcome.groups
            moved += outcome.moved
            if outcome.status == "failed":
                print(outcome.detail, flush=True)
                if counts["failed"] >= given.stop:
                    break
            if sum(counts.values()) % 100 == 0:
                print(f"{sum(counts.values())}: {dict(counts)}", flush=True)
    minutes = (time.monotonic() - started) / 60
    print(
        f"seeds {given.seed} to {seed}: {dict(counts)}, {groups} groups, "
        f"{moved} models moved by masks, {minutes:.1f} minutes"
    )
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
