"""The examples run; `make demo` is the same with enough training."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))


@pytest.mark.slow
def test_digits_end_to_end(tmp_path):
    import digits

    report = digits.main(tmp_path / "digits", epochs=2, tuning_epochs=1)
    base, slim = report["baseline"], report["slim"]
    assert slim["flops"] <= 0.35 * base["flops"]
    assert slim["params"] < base["params"]
    assert slim["bytes"] < base["bytes"]
    assert report["difference"] < 1e-4
    # Two epochs are few, but far better than guessing one digit of ten.
    assert base["accuracy"] > 0.3
    digits.print_table(report)


@pytest.mark.slow
def test_prune_then_quantize(tmp_path):
    import prune_then_quantize

    rows = prune_then_quantize.on_digits(
        tmp_path, epochs=2, tuning=2, aware_tuning=1
    )
    size = {stage: row["bytes"] for stage, row in rows.items()}
    assert size["tuned float"] < size["baseline float"]
    assert size["tuned int8 aware"] < size["tuned float"]
    assert size["tuned int8"] < size["baseline int8"]
    flops = {stage: row["flops"] for stage, row in rows.items()}
    assert flops["tuned float"] <= 0.5 * flops["baseline float"]
    # A few epochs are little, but far better than one digit of ten.
    assert rows["tuned int8 aware"]["accuracy"] > 0.3
    prune_then_quantize.print_table(rows, "digits")
