"""Real architectures, end to end, at a small input size."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        ("ResNet50", 0.5),
        ("MobileNetV2", 0.3),
        ("MobileNetV2", 0.7),
        ("DenseNet121", 0.5),
    ],
)
def test_prune_transform_reload(name, ratio, tmp_path):
    import equality

    row = equality.check(name, ratio, 64, str(tmp_path))
    # The test has power: pruning changed what the model says.
    assert row["changed"] > 0.1
