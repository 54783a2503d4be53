"""A criterion on what the following layers' outputs lose."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.criteria.data_driven import DataCriterion
from tf_channel_prune.criteria.data_driven import ends
from tf_channel_prune.criteria.magnitude import L2
from tf_channel_prune.errors import PruningError


class ThiNet(DataCriterion):
    """The share of the following layers' outputs that goes with a unit.

    ThiNet (Luo et al., ICCV 2017, equation 6 and algorithm 1): what units
    bring to the next layer's output may cancel out, or add up, so the unit
    goes first that changes the output least together with those that went
    before. Here

    - all outputs count, by random signs (see `graph.contributions`), not a
      few sampled ones;
    - a unit counts from its mean, which the next layer's bias or
      normalisation makes good;
    - of several following layers each counts relative to the variance of its
      output;
    - covariances are shrunk as far as the samples are too few to tell them
      from chance (Schaefer and Strimmer, Statistical Applications in Genetics
      and Molecular Biology 4(1), 2005, target D), and the unit's share of
      squared weights, as `l2` has it, counts beside what was measured: samples
      go through the whole model, and pruning elsewhere changes them.

    A score is the share of the output's variance that is lost when the unit
    goes, after those with smaller ones. Units that end inside their own layer
    (heads of attention), or in one that the backend cannot differentiate, go
    by their squared weights alone.

    Args:
        samples: The most samples to use. Defaults to 2048: products of what
            two units bring need more than what each does.
        seed: Of the choice of samples, and of the signs. Defaults to 0.
        prior: How much squared weights count, relative to what was measured.
            Defaults to 1; 0 for the samples alone.
        normalisation: See `Criterion`.
    """

    name = "thinet"
    cumulative = True

    def __init__(
        self,
        samples: int = 2048,
        seed: int = 0,
        prior: float = 1.0,
        normalisation=None,
    ):
        super().__init__(samples, seed, normalisation=normalisation)
        if not prior >= 0:
            raise PruningError(
                f"The prior of 'thinet' is 0 or more, got {prior!r}."
            )
        self.prior = prior

    def score(self, channels, data=None, loss=None):
        from tf_channel_prune.graph.contributions import contributions

        self.needs(data)
        found = contributions(
            channels.graph,
            data,
            [end for end in ends(channels) if end[2] > 0],
            samples=self.samples,
            seed=self.seed,
        )
        return self.of(channels, found)

    def of(self, channels: Channels, terms: dict) -> np.ndarray:
        """Scores from what positions bring to the outputs.

        Args:
            channels: The labels of a model.
            terms: Per end, shape (samples, positions of the axis).
        """
        units_of = {
            end: channels.units(channels.scope.tensors[end[1]].axes[end[2]])
            for end in terms
        }
        scores = np.zeros(channels.unit_count)
        sizes = L2().score(channels)
        for group in channels.prunable:
            lost = np.zeros((group.size, group.size))
            for end, units in units_of.items():
                if np.isin(group.units, units).any():
                    lost += _covariance(terms[end], units, group.units)
            lost = _with_prior(lost, sizes[group.units], self.prior)
            scores[group.units] = greedy(lost)
        return scores


def _with_prior(lost, sizes, prior) -> np.ndarray:
    """What is lost by the samples, averaged with shares of squared weights.

    Args:
        lost: Shape (units, units); all zero where nothing was measured.
        sizes: The squared weights of each unit.
        prior: The weight of `sizes`, where that of the samples is 1.
    """
    shares = np.diag(sizes / max(sizes.sum(), np.finfo(float).tiny))
    size = np.trace(lost)
    if not size:
        return shares
    return (lost + prior * size * shares) / (1 + prior)


def _covariance(terms, units, wanted) -> np.ndarray:
    """Of what units bring to an output, relative to the output's variance.

    Args:
        terms: Shape (samples, positions).
        units: The unit of each position.
        wanted: The units to give it for.
    """
    total = float(np.square(terms.sum(axis=1, dtype=np.float64)).mean())
    if not total:
        return np.zeros((len(wanted), len(wanted)))
    place = np.full(max(units.max(), wanted.max()) + 2, -1)
    place[wanted] = np.arange(len(wanted))
    here = np.flatnonzero(place[units] >= 0)
    parts = np.zeros((len(wanted), len(terms)))
    np.add.at(parts, place[units[here]], terms.T[here])
    return shrunk(parts) / total


def shrunk(parts: np.ndarray) -> np.ndarray:
    """Mean products of rows, shrunk towards their diagonal.

    Args:
        parts: Shape (units, samples).
    """
    count = parts.shape[1]
    mean = parts @ parts.T / count
    if count < 2:
        return np.diag(np.diag(mean))
    spread = np.square(parts) @ np.square(parts).T / count - np.square(mean)
    off = ~np.eye(len(mean), dtype=bool)
    size = np.square(mean[off]).sum()
    noise = spread[off].sum() / (count - 1)
    keep = max(0.0, 1.0 - noise / size) if size else 0.0
    return np.where(off, keep * mean, mean)


def greedy(lost: np.ndarray) -> np.ndarray:
    """What is lost in all when each unit goes, the least of all first.

    Args:
        lost: Mean products of what units bring, shape (units, units).

    Returns:
        One number a unit, which rises in the order in which they go.
    """
    count = len(lost)
    scores = np.zeros(count)
    cross = np.zeros(count)
    own = np.diag(lost)
    left = np.ones(count, bool)
    total, highest, least = 0.0, 0.0, own.sum() / count * 1e-9
    for _ in range(count):
        costs = np.where(left, own + 2 * cross, np.inf)
        chosen = int(np.argmin(costs))
        total += float(costs[chosen])
        # What goes may cancel what went before; the order is to be seen still.
        highest = max(total, highest + least)
        scores[chosen] = highest
        cross += lost[chosen]
        left[chosen] = False
    return scores
