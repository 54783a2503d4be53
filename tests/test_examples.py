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
