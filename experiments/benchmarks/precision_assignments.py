"""Bits that differ between layers: what the best of them gain, and who finds them."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from search.predictors import Ensemble, GaussianProcess, Members, Predictor, Ridge
from search.predictors.scores import kendall_tau
from search.space import Genotypes, Space
from supernets.quantization.layer_importance import graded_bits
from supernets.quantization.layer_scores import LayerScores
from supernets.quantization.precision import WEIGHT_BITS

PREDICTORS: dict[str, Predictor] = {
    "Ridge": Ridge(),
    "Gaussian process": GaussianProcess(),
    "Ensemble": Ensemble(),
}

LEARNT_FROM = 64
"""Assignments that predictors are fitted to."""

DRAWS = 5
"""How often these are drawn anew."""

FINALISTS = 4
"""How many assignments are compared once more for each budget.

The best of hundreds looks better than it is, until other text is looked at.
"""

PARTS = 8
"""Parts of that text. Each is longer than all files but the longest: windows of a file
gain or lose together, so that smaller parts would agree more than other files do."""

STANDARD_ERRORS = 3.0
"""How certain it has to be that mixed bits are better than layers alike.

There are some twenty budgets: with three, chance decides under few of them if any.
"""

Losses = Float[np.ndarray, " assignments"]


@dataclasses.dataclass(frozen=True)
class Assignments:
    """All assignments of bits to layers.

    Attributes:
        bits: Of each layer.
        sizes: Of the packed network, in megabytes.
        search: Losses on the split that assignments are chosen by.
        test: Losses on the split that chosen ones are told by.
        finalists: Rows that were compared once more, ascending.
        parts: Their losses on parts, of one size, of more of the search split.
    """

    bits: Int[np.ndarray, "assignments layers"]
    sizes: Float[np.ndarray, " assignments"]
    search: Losses
    test: Losses
    finalists: Int[np.ndarray, " finalists"]
    parts: Float[np.ndarray, "finalists parts"]

    @property
    def uniform(self) -> Bool[np.ndarray, " assignments"]:
        """Which have the same bits in all layers."""
        return _uniform(self.bits)

    def row_of(self, bits: Sequence[int]) -> int:
        """Returns the row of one of them."""
        return int(np.flatnonzero((self.bits == np.asarray(bits)).all(1))[0])

    def front(self) -> list[int]:
        """Returns rows that are chosen under some budget, smallest first."""
        chosen = set(map(self.chosen_within, np.unique(self.sizes)))
        return sorted(chosen, key=lambda row: self.sizes[row])

    def alike_within(self, budget: float) -> int:
        """Returns the row of the best of layers alike that is small enough."""
        return int(self.finalists[self._alike_within(budget)])

    def chosen_within(self, budget: float) -> int:
        """Returns the row that is surest to be better than layers alike.

        That is the finalist of the largest gain less `STANDARD_ERRORS` standard errors
        of it, over the parts; layers alike if there is no such gain.
        """
        gains = self.parts[self._alike_within(budget)] - self.parts
        errors = gains.std(axis=1, ddof=1) / np.sqrt(gains.shape[1])
        sure = gains.mean(1) - STANDARD_ERRORS * errors
        allowed = _small(self.sizes[self.finalists], budget)
        return int(self.finalists[np.argmax(np.where(allowed, sure, -np.inf))])

    def _alike_within(self, budget: float) -> int:
        rows = self.finalists
        allowed = self.uniform[rows] & _small(self.sizes[rows], budget)
        return int(np.argmin(np.where(allowed, self.parts.mean(1), np.inf)))


def finalists(
    bits: Int[np.ndarray, "assignments layers"],
    sizes: Float[np.ndarray, " assignments"],
    search: Losses,
) -> Int[np.ndarray, " finalists"]:
    """Returns the rows that are best under some budget, and those of layers alike.

    Args:
        bits: Of each layer.
        sizes: Of the packed network.
        search: Losses.
    """
    rows = set(np.flatnonzero(_uniform(bits)).tolist())
    for size in np.unique(sizes):
        small = np.flatnonzero(_small(sizes, size))
        best = small[np.argsort(search[small], kind="stable")[:FINALISTS]]
        rows.update(best.tolist())
    return np.asarray(sorted(rows))


def _uniform(
    bits: Int[np.ndarray, "assignments layers"],
) -> Bool[np.ndarray, " assignments"]:
    return (bits == bits[:, :1]).all(1)


def _small(
    sizes: Float[np.ndarray, " rows"], budget: float
) -> Bool[np.ndarray, " rows"]:
    return sizes <= budget * (1 + 1e-9)


def budgets(found: Assignments) -> list[dict[str, float]]:
    """Returns what mixed bits gain under every budget that some assignment fills.

    Mixed and uniform bits are chosen by the search split; losses are of the test split.
    """
    rows = []
    for size in np.unique(found.sizes):
        mixed, same = found.chosen_within(size), found.alike_within(size)
        rows.append(
            {
                "size_mb": float(size),
                "mixed": float(found.test[mixed]),
                "uniform": float(found.test[same]),
                "gain_percent": _percent(found.test[same], found.test[mixed]),
            }
        )
    return rows


def at_uniform_sizes(found: Assignments) -> dict[str, float]:
    """Returns by how much the best mixed bits are better at the size of each width.

    In percent of their loss. The least bits allow nothing else.
    """
    gains = {}
    for row in np.flatnonzero(found.uniform)[1:]:
        mixed = found.chosen_within(found.sizes[row])
        gain = _percent(found.test[row], found.test[mixed])
        gains[str(int(found.bits[row, 0]))] = gain
    return gains


def by_importance(
    found: Assignments, scores: LayerScores
) -> dict[str, list[dict[str, Any]]]:
    """Returns assignments that follow from the importance of layers.

    Layers have one of two neighbouring widths, the more important ones the higher.
    ``order`` is the mean over all choices of so many layers; ``gain_percent`` how much
    better an assignment is.
    """
    importance = {"LIM": scores.modification, "ZD": -scores.outliers}
    return {
        name: [
            _graded(found, score, keep, pair)
            for pair in _neighbours(found)
            for keep in range(1, found.bits.shape[1])
        ]
        for name, score in importance.items()
    }


def _graded(
    found: Assignments,
    importance: Float[np.ndarray, " layers"],
    keep: int,
    pair: tuple[int, int],
) -> dict[str, Any]:
    low, high = pair
    bits = graded_bits(importance, keep, high=high, low=low)
    row = found.row_of(bits.tolist())
    alike = (np.sort(found.bits, axis=1) == np.sort(bits)).all(1)
    order = float(found.test[alike].mean())
    return {
        "bits": bits.tolist(),
        "size_mb": float(found.sizes[row]),
        "loss": float(found.test[row]),
        "order": order,
        "best": float(found.test[alike].min()),
        "gain_percent": _percent(order, found.test[row]),
    }


def _neighbours(found: Assignments) -> list[tuple[int, int]]:
    widths = np.unique(found.bits).tolist()
    return list(itertools.pairwise(widths))


def rank_correlations(
    space: Space, genotypes: Genotypes, found: Assignments
) -> dict[str, list[float]]:
    """Returns Kendall's tau of each predictor on what it did not learn from.

    They see bits and the logarithm of the size, as in a search.
    """
    members = Members(space, genotypes, np.log(found.sizes)[:, None])
    count = min(LEARNT_FROM, len(genotypes) // 2)
    taus: dict[str, list[float]] = {name: [] for name in PREDICTORS}
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(genotypes))
        known, others = order[:count], order[count:]
        for name, predictor in PREDICTORS.items():
            fitted = predictor.fit(members.take(known), found.search[known])
            told = fitted.predict(members.take(others)).mean
            taus[name].append(kendall_tau(told, found.search[others]))
    return taus


def bits_of(space: Space, genotypes: Genotypes) -> Int[np.ndarray, "rows layers"]:
    """Returns the bits of each layer of assignments."""
    return space.values(genotypes, WEIGHT_BITS).astype(np.int32)


def told(
    found: Assignments, scores: LayerScores, taus: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """Returns what of all assignments is stored; losses are of the test split."""
    every = budgets(found)

    def points(rows: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {
                "bits": found.bits[row].tolist(),
                "size_mb": float(found.sizes[row]),
                "loss": float(found.test[row]),
            }
            for row in rows
        ]

    gains = np.asarray([row["gain_percent"] for row in every])
    return {
        "count": len(found.sizes),
        "uniform": points(np.flatnonzero(found.uniform).tolist()),
        "front": points(found.front()),
        "all": {
            "size_mb": np.round(found.sizes, 6).tolist(),
            "loss": np.round(found.test, 5).tolist(),
        },
        "finalists": len(found.finalists),
        "standard_errors": STANDARD_ERRORS,
        "budgets": len(every),
        "budgets_at_least_as_good": int((gains >= 0).sum()),
        "worst_gain_percent": float(gains.min()),
        "mean_gain_percent": float(gains.mean()),
        "best_gain_percent": float(gains.max()),
        "gain_percent_at_size_of": at_uniform_sizes(found),
        "modification": scores.modification.astype(float).tolist(),
        "outliers": scores.outliers.astype(float).tolist(),
        "importance": by_importance(found, scores),
        "kendall_tau": dict(taus),
        "learnt_from": min(LEARNT_FROM, len(found.sizes) // 2),
    }


def _percent(worse: float, better: float) -> float:
    return float(100 * (worse / better - 1))
