"""The result of an analysis: a curve of scores for every group."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from tf_channel_prune.errors import PruningError

FORMAT = 1
EVENLY = 0.01  # how much a share counts beside what is expected to be lost


def removed_at(size: int, ratio: float) -> int:
    """How many of `size` channels a ratio removes: rounded, never all."""
    return min(int(size * ratio + 0.5), size - 1)


def _rising(numbers, count: int) -> list[float]:
    rising = [float(number) for number in numbers]
    if len(rising) != count or not all(np.diff(rising) >= 0):
        raise ValueError(f"expected is not {count} numbers that rise")
    return rising


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Scores of a model with one group pruned at a time.

    Attributes:
        baseline: The score of the whole model; larger is better.
        curves: Per group, the score at each ratio.
        sizes: Per group, how many channels it has. A ratio removes
            `removed_at(size, ratio)` of them.
        expected: Per group, what the criterion expects to be lost with the
            first channel, the first two, and so on: `size` numbers in a
            measure of its own, not descending. Groups may be missing.
    """

    baseline: float
    curves: dict[str, dict[float, float]]
    sizes: dict[str, int]
    expected: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def loss(self, group: str, share) -> np.ndarray:
        """What removing a share of one group costs in score.

        The curve is made monotone (a score that recovers at a larger ratio
        is luck), starts at no loss, and is a monotone cubic between measured
        points (Fritsch and Butland, 1984): losses grow ever faster, and
        straight lines lie above such a curve. It runs over what the criterion
        expects to be lost, where it says so, else over the share: few points
        then tell how much that matters, and the criterion where it comes
        about. Beyond the last point a line runs to the worst loss of any
        group: with all its channels gone a group leaves nothing.

        Args:
            group: A group's name.
            share: Removed shares of the group, between 0 and 1.

        Returns:
            Losses of score, at least 0, in the shape of `share`.

        Raises:
            PruningError: If the group was not analysed.
        """
        from scipy.interpolate import PchipInterpolator

        share = np.asarray(share)
        shares, losses = self._points(group)
        worst = max(self._worst(), losses[-1])
        beyond = np.interp(share, [shares[-1], 1.0], [losses[-1], worst])
        if len(shares) == 1:
            return beyond
        curve = PchipInterpolator(self._lost(group, shares), losses)
        within = curve(self._lost(group, share))
        return np.where(share > shares[-1], beyond, within)

    def _lost(self, group, share) -> np.ndarray:
        """What is expected to be lost, rising with the share."""
        share = np.asarray(share)
        expected = np.array([0.0, *self.expected.get(group, ())])
        if not expected[-1] > 0:
            return share
        at = np.arange(len(expected)) / self.sizes[group]
        # Where it expects nothing to be lost, the share still counts.
        return np.interp(share, at, expected / expected[-1]) + EVENLY * share

    def scaled(self, factors: dict[str, float]) -> Sensitivity:
        """The same curves with every group's losses times a factor.

        Args:
            factors: By group name, above 0.
        """
        return Sensitivity(
            self.baseline,
            {
                name: {
                    ratio: self.baseline
                    - factors[name] * (self.baseline - score)
                    for ratio, score in curve.items()
                }
                for name, curve in self.curves.items()
            },
            self.sizes,
            self.expected,
        )

    def measured(self, group: str) -> float:
        """The largest share of a group whose removal was tried."""
        return self._points(group)[0][-1]

    @property
    def rises(self) -> bool:
        """Whether most groups score better pruned hardest than whole."""
        last = [curve[max(curve)] for curve in self.curves.values()]
        return sum(score > self.baseline for score in last) > len(last) / 2

    def _points(self, group):
        if group not in self.curves:
            raise PruningError(
                f"The analysis has no group {group!r}; it has "
                f"{len(self.curves)} others. Run ana on this model."
            )
        size = self.sizes[group]
        found = {0: self.baseline}
        for ratio, score in self.curves[group].items():
            found[removed_at(size, ratio)] = score
        removed = sorted(found)
        losses = [max(self.baseline - found[n], 0.0) for n in removed]
        losses[0] = 0.0
        return (
            [n / size for n in removed],
            np.maximum.accumulate(losses).tolist(),
        )

    def _worst(self) -> float:
        scores = [s for curve in self.curves.values() for s in curve.values()]
        return self.baseline - min([self.baseline, *scores])

    def to_json(self) -> str:
        """One group a line."""
        rows = [
            f"    {json.dumps(name)}: {json.dumps(self._row(name))}"
            for name in self.curves
        ]
        head = f'{{\n  "format": {FORMAT},\n  "baseline": {self.baseline!r},\n'
        return head + '  "groups": {\n' + ",\n".join(rows) + "\n  }\n}\n"

    def _row(self, name) -> dict:
        row = {"size": self.sizes[name], "scores": self.curves[name]}
        if name in self.expected:
            row["expected"] = self.expected[name]
        return row

    @classmethod
    def from_json(cls, text: str) -> Sensitivity:
        """Reads `to_json`'s text.

        Raises:
            PruningError: If it is not an analysis.
        """
        try:
            data = json.loads(text)
            groups = data["groups"]
            return cls(
                float(data["baseline"]),
                {
                    name: {float(r): float(s) for r, s in g["scores"].items()}
                    for name, g in groups.items()
                },
                {name: int(g["size"]) for name, g in groups.items()},
                {
                    name: _rising(g["expected"], int(g["size"]))
                    for name, g in groups.items()
                    if "expected" in g
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PruningError(f"Not an analysis: {error}.") from error

    def __str__(self) -> str:
        from tf_channel_prune.report.tables import sensitivity_table
        from tf_channel_prune.report.tables import to_text

        return to_text(sensitivity_table(self))
