"""What a criterion is."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.criteria.slices import NORMALISATIONS
from tf_channel_prune.criteria.slices import REDUCTIONS
from tf_channel_prune.criteria.slices import Slices
from tf_channel_prune.criteria.slices import Sums
from tf_channel_prune.criteria.slices import coupled
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.digests import value_digest

_CRITERIA: dict[str, type] = {}

# Chosen by benchmarks/choice.py; see docs/results.md. Loss curves say how much
# to take of each group, so that a criterion need not compare across groups;
# without them it must, and what is best at the one is not at the other. Where
# there are samples, they tell more than weights alone.
DEFAULT = "l2"
DEFAULT_WITH_CURVES = "l1"
DEFAULT_WITH_DATA = "thinet"

_OWN = __name__.partition(".")[0] + "."

# Running statistics describe the data, not the channel's weight in the model.
STATISTICS = ("moving_mean", "moving_variance")


class Criterion:
    """Scores units; larger matters more.

    A subclass overrides one of

    - `elements`: a non-negative number per weight entry, summed over a slice;
    - `rows`: one number per slice, from all slices of a group in one weight;
    - `score`: one number per unit, from anything.

    Example:

        class Cubes(tcp.Criterion):
            name = "cubes"

            def elements(self, array):
                return np.abs(array) ** 3

    Args:
        reduction: How the numbers of a unit's slices become one: `sum`,
            `mean` or `max`. Defaults to the class's.
        normalisation: What the scores of a group are divided by before
            groups are compared: their `mean` (DepGraph, Fang et al., CVPR
            2023, section 3.4), `max`, `sum`, `l2` norm (Molchanov et al.,
            ICLR 2017, section 2.2) or nothing (`none`). Defaults to the
            class's.

    Attributes:
        name: How it is called in `criterion=`.
        uses_data: Whether `score` needs `data`.
        cumulative: Whether a score is what is lost when the unit goes
            together with all of its group that go before it. Loss curves
            then run between their points as the scores do.
        skips: Names of weights that have no say.
    """

    name = ""
    reduction = "sum"
    normalisation = "mean"
    uses_data = False
    cumulative = False
    skips: tuple[str, ...] = STATISTICS

    def __init__(
        self, reduction: str | None = None, normalisation: str | None = None
    ):
        self.reduction = _one_of(
            "reduction", reduction or self.reduction, REDUCTIONS
        )
        self.normalisation = _one_of(
            "normalisation",
            normalisation or self.normalisation,
            NORMALISATIONS,
        )

    def __init_subclass__(cls):
        if "name" in vars(cls) and cls.name:
            _CRITERIA[cls.name] = cls

    @property
    def key(self) -> str:
        """What analyses by it are kept under: its name, where that says all.

        Arguments other than the defaults, and the code of a class that is
        not this package's, are added as a digest.
        """
        methods = [
            vars(part)
            for part in type(self).__mro__
            if not part.__module__.startswith(_OWN)
        ]
        try:
            plain = vars(type(self)())
        except TypeError:  # it has arguments without defaults
            plain = None
        told = [value_digest(one) for one in (vars(self), plain)]
        if told[0] == told[1] and methods == [vars(object)]:
            return self.name
        own = [
            {name: one for name, one in part.items() if callable(one)}
            for part in methods[:-1]
        ]
        return f"{self.name} {value_digest([vars(self), own])[:12]}"

    def elements(self, array: np.ndarray) -> np.ndarray:
        """The share of every weight entry, in the array's shape."""
        raise NotImplementedError(
            f"{type(self).__name__} overrides none of elements, rows, score."
        )

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """One number a row of (group size, entries of a slice)."""
        return self.elements(rows).sum(axis=1, dtype=np.float64)

    def score(self, channels: Channels, data=None, loss=None) -> np.ndarray:
        """One number per unit, shape (units,); 0 for frozen units.

        Args:
            channels: The labels of a model.
            data: Samples with targets, if `uses_data`.
            loss: The loss on them; defaults to the compiled model's.
        """
        if type(self).rows is not Criterion.rows:
            return self.reduced(
                channels,
                lambda s: self.rows(s.rows(s.weight.array)),
            )
        return self.reduced(channels, Sums(channels, self.elements))

    def counts(self, slices: Slices) -> bool:
        """Whether a weight has a say in the score."""
        return slices.weight.name.rsplit("/", 1)[-1] not in self.skips

    def reduced(self, channels: Channels, value) -> np.ndarray:
        """Scores from a function of `Slices` that gives one number a unit."""
        scores = np.zeros(channels.unit_count)
        reduce = REDUCTIONS[self.reduction]
        for group, slices in coupled(channels):
            values = [value(s) for s in slices if self.counts(s)]
            if values:
                scores[group.units] = reduce(np.stack(values))
        return scores

    def normalised(self, channels: Channels, scores) -> np.ndarray:
        """Scores made comparable across groups."""
        result = np.array(scores, np.float64)
        divisor = NORMALISATIONS[self.normalisation]
        for group in channels.prunable:
            by = divisor(result[group.units])
            if by > 0:
                result[group.units] /= by
        return result

    def needs(self, data) -> None:
        """Raises unless there are data."""
        if data is None:
            raise PruningError(
                f"The criterion {self.name!r} looks at data: give data=(x, y), "
                "or batches of them."
            )


class FunctionCriterion(Criterion):
    """A function of `Channels` that gives one score per unit."""

    normalisation = "none"

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.name = getattr(function, "__name__", "function")

    def score(self, channels, data=None, loss=None):
        scores = np.asarray(self.function(channels), np.float64)
        if scores.shape != (channels.unit_count,):
            raise PruningError(
                f"The criterion {self.name!r} gave scores of shape "
                f"{scores.shape}; the model has {channels.unit_count} units."
            )
        return scores


class Recorded(Criterion):
    """Scores that were made before, by a criterion.

    Args:
        criterion: Which one.
        by_group: Per group name, one score a unit.
    """

    normalisation = "none"

    def __init__(self, criterion: Criterion, by_group: dict[str, list[float]]):
        super().__init__()
        self.name = criterion.name
        self.cumulative = criterion.cumulative
        self.by_group = by_group

    def score(self, channels, data=None, loss=None):
        scores = np.zeros(channels.unit_count)
        for group in channels.prunable:
            scores[group.units] = self.by_group[group.name]
        return scores


def get(criterion=None) -> Criterion:
    """A criterion from its name, a criterion object or class, or a function.

    None is the package's default.

    A function takes `Channels` and gives one score per unit.

    Raises:
        PruningError: If there is no criterion of that name.
    """
    if criterion is None:
        criterion = DEFAULT
    if isinstance(criterion, Criterion):
        return criterion
    if isinstance(criterion, str):
        _one_of("criterion", criterion, _CRITERIA)
        return _CRITERIA[criterion]()
    if isinstance(criterion, type) and issubclass(criterion, Criterion):
        return criterion()
    if callable(criterion):
        return FunctionCriterion(criterion)
    raise PruningError(
        f"Not a criterion: {criterion!r}. Give one of "
        + ", ".join(sorted(_CRITERIA))
        + ", a tcp.Criterion, or a function of the channels."
    )


def scores(channels, criterion=None, data=None, loss=None) -> np.ndarray:
    """One number per unit that compares across groups; larger stays longer.

    Args:
        channels: The labels of a model.
        criterion: See `get`.
        data, loss: See `Criterion.score`.
    """
    criterion = get(criterion)
    given = {"data": data, "loss": loss} if criterion.uses_data else {}
    return criterion.normalised(channels, criterion.score(channels, **given))


def by_group(channels, scores) -> dict[str, list[float]]:
    """Per name of a group that can be pruned, the scores of its units."""
    return {g.name: scores[g.units].tolist() for g in channels.prunable}


def expected(criterion, by_group) -> dict[str, list[float]]:
    """What a criterion expects to be lost as the units of each group go.

    Args:
        criterion: See `get`.
        by_group: Its scores, see `by_group`.

    Returns:
        Per group, a number for each unit, not descending; nothing unless the
        criterion is `cumulative`.
    """
    if not get(criterion).cumulative:
        return {}
    return {name: sorted(scores) for name, scores in by_group.items()}


def names() -> list[str]:
    """The criteria that `criterion=` knows by name."""
    return sorted(_CRITERIA)


def _one_of(what: str, value: str, allowed) -> str:
    if value not in allowed:
        raise PruningError(
            f"{what}={value!r}: expected one of {', '.join(sorted(allowed))}."
        )
    return value
