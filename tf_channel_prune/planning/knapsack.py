"""The cheapest plan by loss curves: a knapsack with coupled weights.

Every group is at one rung of its ladder; a rung costs its loss, and the sum of
losses is to be the least within the budget. It is a multiple-choice knapsack
whose weights are not separable: a convolution's cost is a product of what two
groups keep. Two steps solve it:

- a descent by multipliers, which any cost metric allows (`multipliers`);
- where costs are products of two sizes, an integer program with exact products
  (a convex-hull formulation of one-hot times a size), solved by HiGHS from
  SciPy, which also gives a bound on how far from the best the plan can be. Its
  linear relaxation shows which rungs no plan can have that is better than the
  one from the descent (reduced-cost fixing); few are left.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tf_channel_prune.cost import PRODUCT_METRICS
from tf_channel_prune.errors import PruningError
from tf_channel_prune.planning.multipliers import descend
from tf_channel_prune.planning.search import within

# A group's rungs in the integer program; more are thinned out, and put back
# one by one afterwards.
MOST_RUNGS = 64
MOST_NODES = 2000
# Rungs that are left to choose from; with more, the solver takes seconds for
# less than one percent of the loss.
MOST_FREE = 150
GAP = 0.01
INFEASIBLE = 2  # the status in SciPy


@dataclasses.dataclass(frozen=True)
class Packing:
    """A plan and how good it is known to be.

    Attributes:
        counts: Kept counts of every group.
        loss: The sum of the losses.
        bound: What the sum is at least, for any plan; None where that is
            not known.
    """

    counts: np.ndarray
    loss: float
    bound: float | None = None


def pack(ranking, table, caps) -> Packing | None:
    """The plan with the least sum of losses within the caps.

    Args:
        ranking: Ladders with losses as prices.
        table: The costs.
        caps: The most that may be left, by metric.

    Returns:
        The plan, or None if no plan is within the caps.
    """
    program = None
    if set(caps) <= set(PRODUCT_METRICS):
        program = program_of(ranking, table, caps)
    weights = None if program is None else program.relax()
    counts = descend(ranking, table, caps, weights)
    if counts is None:
        return None
    best = Packing(counts, loss_of(ranking, counts))
    if program is None:
        return best
    counts, bound = program.solve(best.loss)
    if counts is not None and within(table, counts, caps):
        loss = loss_of(ranking, counts)
        if loss < best.loss:
            best = Packing(counts, loss)
    if program.whole:
        best = dataclasses.replace(best, bound=min(bound, best.loss))
    return best


def loss_of(ranking, counts) -> float:
    """The sum of the losses of kept counts."""
    return sum(
        float(prices[d - 1])
        for prices, d in zip(ranking.prices, ranking.down(counts))
        if d
    )


def program_of(ranking, table, caps) -> _Program | None:
    """The integer program; None where a product has three sizes."""
    program = _Program(ranking)
    for of, cap in caps.items():
        if not program.add_cap(of, table.products(of), cap):
            return None
    return program


class _Program:
    """Variables and rows of the integer program.

    Per group and rung a binary `x`; per product of a group's count and a
    size `a`, and per rung, a `w` that is `a` where `x` is 1 and else 0.
    """

    def __init__(self, ranking):
        self.ranking = ranking
        self.rungs = [_thinned(len(ladder)) for ladder in ranking.ladders]
        self.first = np.concatenate(
            [[0], np.cumsum([len(r) for r in self.rungs])]
        )
        self.binaries = int(self.first[-1])
        self.upper: list[float] = [1.0] * self.binaries
        self.rows: list[tuple[dict[int, float], float, float]] = [
            ({int(v): 1.0 for v in self.variables(g)}, 1.0, 1.0)
            for g in range(len(self.rungs))
        ]
        self.lower = [0.0] * self.binaries
        self.caps: dict[str, tuple[int, float]] = {}
        self.relaxed: Any = None
        self._products: dict[tuple, range] = {}

    def variables(self, g):
        return range(int(self.first[g]), int(self.first[g + 1]))

    def kept(self, g):
        """The counts of a group's rungs in the program."""
        return self.ranking.ladders[g][self.rungs[g]]

    def count(self, g, times=1.0):
        """A group's count as coefficients."""
        return {
            v: times * float(c) for v, c in zip(self.variables(g), self.kept(g))
        }

    def size(self, size):
        """A size as `(constant, coefficients)`."""
        constant, groups = size
        row: dict[int, float] = {}
        for g, times in groups:
            row.update(self.count(g, times))
        return float(constant), row

    def add_cap(self, of, products, cap) -> bool:
        """Keeps a sum of products within a cap, if it is one of at most two."""
        constant, row = 0.0, {}
        for factor, sizes in products:
            if len(sizes) > 2:
                return False
            base, terms = self._product(sizes)
            constant += factor * base
            for v, value in terms.items():
                row[v] = row.get(v, 0.0) + factor * value
        # Rows of order one keep the solver's tolerances meaningful.
        scale = max(cap, 1.0)
        row = {v: value / scale for v, value in row.items()}
        self.caps[of] = len(self.rows), scale
        self.rows.append((row, -np.inf, (cap - constant) / scale))
        return True

    def _product(self, sizes):
        """A product of up to two sizes as `(constant, coefficients)`."""
        if not sizes:
            return 1.0, {}
        if len(sizes) == 1:
            return self.size(sizes[0])
        # The size of fewer groups is the one that is taken apart.
        one, other = sorted(sizes, key=lambda size: (len(size[1]), size))
        base, row = self.size(other)
        constant = one[0] * base
        terms = {v: one[0] * value for v, value in row.items()}
        for g, times in one[1]:
            for v, value in self._times_count(g, other).items():
                terms[v] = terms.get(v, 0.0) + times * value
        return constant, terms

    def _times_count(self, g, size):
        """A group's count times a size, exactly."""
        key = (g, size)
        if key not in self._products:
            self._products[key] = self._new_product(g, size)
        return {v: float(c) for v, c in zip(self._products[key], self.kept(g))}

    def _new_product(self, g, size):
        constant, row = self.size(size)
        low, high = self._range(size)
        start = len(self.upper)
        made = range(start, start + len(self.rungs[g]))
        self.upper += [high] * len(made)
        self.lower += [0.0] * len(made)
        for w, x in zip(made, self.variables(g)):
            self.rows.append(({w: 1.0, x: -high}, -np.inf, 0.0))
            self.rows.append(({w: 1.0, x: -low}, 0.0, np.inf))
        total = dict.fromkeys(made, 1.0)
        for v, value in row.items():
            total[v] = total.get(v, 0.0) - value
        self.rows.append((total, constant, constant))
        return made

    def _range(self, size):
        constant, groups = size
        low = constant + sum(t * float(self.kept(g).min()) for g, t in groups)
        high = constant + sum(t * float(self.kept(g).max()) for g, t in groups)
        return float(low), float(high)

    def relax(self) -> dict[str, float] | None:
        """Solves the linear relaxation.

        Returns:
            What a unit of each capped cost is worth in losses; None where
            the relaxation has no solution.
        """
        from scipy.optimize import linprog
        from scipy.sparse import vstack

        rows = self.constraints()
        same = rows.lb == rows.ub
        above = np.isfinite(rows.ub) & ~same
        below = np.isfinite(rows.lb) & ~same
        self.relaxed = linprog(
            self.objective(),
            A_ub=vstack([rows.A[above], -rows.A[below]]),
            b_ub=np.concatenate([rows.ub[above], -rows.lb[below]]),
            A_eq=rows.A[same],
            b_eq=rows.ub[same],
            bounds=np.column_stack([self.lower, self.upper]),
            method="highs",
        )
        if self.relaxed.x is None:
            return None
        worth = self.relaxed.ineqlin.marginals
        place = np.cumsum(above) - 1
        return {
            of: -float(worth[place[row]]) / scale
            for of, (row, scale) in self.caps.items()
        }

    def solve(self, upper: float):
        """Looks for a plan with a loss below `upper`, that of a known one.

        Returns:
            `(counts, bound)`: the counts are None where none was found.
        """
        from scipy.optimize import milp

        if self.relaxed.x is None:
            return None, 0.0
        bound = max(float(self.relaxed.fun), 0.0)
        self.exclude(upper - self.relaxed.fun)
        if bound >= upper * (1 - GAP) or self.free > MOST_FREE:
            return None, bound
        solution = milp(
            self.objective(),
            constraints=self.constraints(),
            integrality=self.integrality(),
            bounds=self.bounds(),
            options={"mip_rel_gap": GAP, "node_limit": MOST_NODES},
        )
        if solution.status == INFEASIBLE:
            return None, upper
        if solution.mip_dual_bound is not None:
            bound = max(bound, solution.mip_dual_bound)
        counts = None if solution.x is None else self.counts(solution.x)
        return counts, bound

    def exclude(self, room: float) -> None:
        """Fixes what costs more than `room` above the relaxation to change."""
        lower, upper = (
            part.marginals[: self.binaries]
            for part in (self.relaxed.lower, self.relaxed.upper)
        )
        for v in np.flatnonzero(lower > room + 1e-9).tolist():
            self.upper[v] = 0.0
        for v in np.flatnonzero(-upper > room + 1e-9).tolist():
            self.lower[v] = 1.0

    @property
    def free(self) -> int:
        """How many binaries are not fixed."""
        pairs = zip(self.lower[: self.binaries], self.upper[: self.binaries])
        return sum(low < high for low, high in pairs)

    @property
    def whole(self) -> bool:
        """Whether every rung of every ladder is in the program."""
        return all(
            len(rungs) == len(ladder)
            for rungs, ladder in zip(self.rungs, self.ranking.ladders)
        )

    def objective(self):
        values = np.zeros(len(self.upper))
        for g, prices in enumerate(self.ranking.prices):
            losses = np.concatenate([[0.0], prices])[self.rungs[g]]
            values[self.first[g] : self.first[g + 1]] = losses
        return values

    def integrality(self):
        return (np.arange(len(self.upper)) < self.binaries).astype(int)

    def bounds(self):
        from scipy.optimize import Bounds

        return Bounds(np.array(self.lower), np.array(self.upper))

    def constraints(self):
        from scipy.optimize import LinearConstraint
        from scipy.sparse import csr_array

        indices = [v for row, _, _ in self.rows for v in row]
        data = [value for row, _, _ in self.rows for value in row.values()]
        ends = np.cumsum([0, *(len(row) for row, _, _ in self.rows)])
        matrix = csr_array(
            (data, indices, ends), shape=(len(self.rows), len(self.upper))
        )
        low = np.array([low for _, low, _ in self.rows])
        high = np.array([high for _, _, high in self.rows])
        return LinearConstraint(matrix, low, high)

    def counts(self, x):
        """Kept counts from a solution."""
        return np.array(
            [
                self.kept(g)[int(np.argmax(x[list(self.variables(g))]))]
                for g in range(len(self.rungs))
            ],
            np.int64,
        )


def _thinned(count: int) -> np.ndarray:
    """At most `MOST_RUNGS` of `count` rungs, the first and the last kept."""
    if count <= MOST_RUNGS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, MOST_RUNGS).round().astype(int))


def finite_losses(ranking) -> None:
    """Raises unless every loss is a number."""
    for group, prices in zip(ranking.groups, ranking.prices):
        if not np.isfinite(prices).all():
            raise PruningError(
                f"The loss curve of group {group.name!r} has entries that are "
                "no numbers."
            )
