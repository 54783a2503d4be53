"""`Pruner.search` and `Pruner.explain`."""

import numpy as np
import pytest
from small_models import closeness
from small_models import images
from small_models import residual

import tf_channel_prune as tcp
from tf_channel_prune.masking import Masks

HOW = {"ratio": 0.4, "divisor": 1, "progress": False, "candidates": 6}


@pytest.fixture
def pruner(tmp_path):
    return tcp.Pruner(residual(), tmp_path, data=images())


def test_the_best_candidate_is_returned(pruner):
    evaluate = closeness(pruner.model)
    sparse = pruner.search(evaluate, **HOW)
    rows = pruner.candidates.rows
    assert [row.number for row in rows] == list(range(6))
    assert len({row.counts for row in rows}) > 1
    assert all(row.removed["flops"] >= 0.4 for row in rows)
    best = pruner.candidates.best
    assert best.score == max(row.score for row in rows)
    masks = Masks(sparse)
    alive = masks.alive()
    groups = masks.channels.prunable
    assert best.counts == tuple(int(alive[g.units].sum()) for g in groups)
    # What was scored is what is returned, statistics and all.
    assert evaluate(sparse) == pytest.approx(best.score, rel=1e-4)
    assert pruner.plan.request["by"] == "search"
    np.testing.assert_array_equal(pruner.plan.alive(masks.channels), alive)
    tcp.transform(sparse, samples=images())


def _killed_and_resumed(pruner):
    """Searches twice, killed in the first; what scores, and its calls."""
    evaluate, calls = closeness(pruner.model), []

    def counting(model):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(model)

    with pytest.raises(KeyboardInterrupt):
        pruner.search(counting, **HOW)
    pruner.search(counting, **HOW)
    return counting, calls


def test_scores_are_not_measured_twice(pruner, tmp_path):
    counting, calls = _killed_and_resumed(pruner)
    distinct = {row.counts for row in pruner.candidates.rows}
    assert len(calls) == len(distinct) + 1
    first = pruner.candidates
    again = tcp.Pruner(residual(), tmp_path, data=images())
    again.search(counting, **HOW)
    assert len(calls) == len(distinct) + 1 and again.candidates == first
    # More candidates: only the new ones are scored.
    again.search(counting, **{**HOW, "candidates": 8})
    assert again.candidates.rows[:6] == first.rows
    assert len(calls) <= len(distinct) + 3
    # What a search scored is no analysis.
    assert again.sensitivity() is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"candidates": 0}, "candidates must be"),
        ({"evaluate": None}, "needs evaluate"),
        ({"data": None}, "give inputs as data"),
        ({"seed": -1}, "seed must be"),
        ({"samples": 0}, "samples must be"),
        ({"ratio": 0.999}, "cannot be reached"),
        ({"evaluate": lambda model: "good"}, "candidate 0"),
    ],
)
def test_what_makes_no_sense_is_told(pruner, change, message):
    pruner._subject.data = None
    how = {"evaluate": lambda model: 1.0, "data": images(), **HOW, **change}
    with pytest.raises(tcp.PruningError, match=message):
        pruner.search(**how)


def test_an_iterator_is_as_good_as_batches(pruner):
    """It can be read once, and may have no end."""
    evaluate = closeness(pruner.model)

    def endless():
        while True:
            yield images()[:8], None

    how = {**HOW, "samples": 16}
    pruner.search(evaluate, endless(), **how)
    other = tcp.Pruner(pruner.model, pruner.workspace.path / "other")
    other.search(evaluate, [(images()[:8], None)] * 2, **how)
    assert pruner.candidates == other.candidates


def test_every_group_has_its_reason(pruner):
    with pytest.raises(tcp.PruningError, match="no plan to explain"):
        pruner.explain()
    pruner.prune(0.4, divisor=1)
    found = pruner.explain()
    names = [g.name for g in pruner.groups if not g.frozen]
    assert [row.group for row in found.rows] == names
    assert [g.reason for g in found.frozen] == ["it reaches a model output"]
    for row in found.rows:
        assert row.why and row.kept <= row.size
        assert (row.saved["flops"] > 0) == (row.kept < row.size)
    assert "flops saved alone" in str(found)


def test_a_plan_file_explains_itself(pruner, tmp_path):
    pruner.prune(0.4, divisor=1)
    said = {row.group: row.why for row in pruner.explain().rows}
    other = tcp.Pruner(residual(), tmp_path)
    found = other.explain(pruner.plan_path.stem)
    assert {row.group: row.why for row in found.rows} == said
    # A replayed plan keeps its reasons, in its file too.
    other.prune(plan=pruner.plan_path)
    assert other.plan.why == said == other.explain().by_group()


def test_a_search_says_which_candidate_won(pruner):
    pruner.search(closeness(pruner.model), **HOW)
    best = pruner.candidates.best
    reasons = {row.why for row in pruner.explain().rows}
    if best.number:
        assert reasons == {
            f"candidate {best.number} of 6 scored {best.score:.4g}, the "
            f"global plan {pruner.candidates.rows[0].score:.4g}"
        }
    else:
        assert len(reasons) > 1


def test_a_search_with_an_analysis_goes_on_from_its_plan(pruner):
    evaluate = closeness(pruner.model)
    pruner.ana(evaluate, ratios=[0.25, 0.5, 0.75], progress=False)
    _, calls = _killed_and_resumed(pruner)
    rows = pruner.candidates.rows
    assert rows[0].how == "sensitivity"
    assert {row.how for row in rows[1:]} == {"near"}
    distinct = {row.counts for row in rows}
    assert len(calls) == len(distinct) + 1
    # The plan of the curves is the first one.
    pruner.prune(0.4, divisor=1)
    kept = tuple(row.kept for row in pruner.explain().rows)
    assert rows[0].counts == kept
