"""The reference models of MLPerf Tiny, where their files are at hand."""

import pathlib
import sys

import h5py
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

MODELS = ROOT.parent / "shared" / "models" / "mlperf_tiny"
NAMES = (
    "anomaly_detection__ad01",
    "image_classification__pretrainedResnet",
    "keyword_spotting__kws_ref_model",
    "streaming_wakeword__str_ww_ref_model",
    "visual_wake_words__vww_96",
)


@pytest.mark.slow
@pytest.mark.skipif(not MODELS.exists(), reason=f"there is no {MODELS}")
@pytest.mark.parametrize("name", NAMES)
def test_half_of_the_flops_less_and_equal(name, tmp_path):
    import mlperf_tiny
    import tf_keras

    path = MODELS / f"{name}.h5"
    with h5py.File(path) as file:
        made_with = str(file.attrs["keras_version"])
    if _numbers(made_with) > _numbers(tf_keras.__version__):
        pytest.skip(f"the file was written by tf_keras {made_with}")
    row = mlperf_tiny.check(path, 0.5, tmp_path)
    assert 0.5 <= row["cut"] < 0.52
    # The test has power: pruning changed what the model says.
    assert row["changed"] > 0.1


def _numbers(version):
    return [int(number) for number in version.split(".")[:2]]


def test_no_sample_is_measured_with_a_plan_that_was_chosen_on_it():
    import mlperf_tiny

    x = np.arange(7)[:, None]
    folds = mlperf_tiny.halves(x, x[:, 0])
    for choosing, measured in folds:
        assert not set(choosing[1]) & set(measured[1])
    found = np.concatenate([measured[1] for _, measured in folds])
    assert sorted(found) == list(range(7))
