"""What a predictor is: a frozen specification that is fitted to measured members.

A fitted predictor is never stored. Fitting is deterministic, so whoever has the archive
fits it again; that takes less than a second for a thousand architectures.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from search.predictors.features import Members

Values = Float[np.ndarray, " population"]

LEAST = 2
"""Fewest members that anything can be learnt from."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted values of members, in the unit of what was fitted.

    Attributes:
        mean: What is expected.
        std: Standard deviation of what an evaluation would give about the mean, its
            noise included.
    """

    mean: Values
    std: Values


@runtime_checkable
class Fitted(Protocol):
    """A predictor that has learnt."""

    def predict(self, members: Members) -> Prediction:
        """Predicts the value of each member, all at once.

        Raises:
            ValueError: If the members have other columns than those it learnt from.
        """
        ...


@runtime_checkable
class Predictor(Protocol):
    """How a value is learnt from members of a space, itself plain values."""

    def fit(self, members: Members, values: Values) -> Fitted:
        """Learns; the same members and values always give the same predictor.

        Args:
            members: Those that were evaluated.
            values: What the evaluations gave, in any unit.

        Raises:
            ValueError: If there are fewer than two members, or not a finite value for
                each.
        """
        ...


def require_fittable(members: Members, values: Values) -> None:
    """Raises ``ValueError`` where nothing can be learnt; see :class:`Predictor`."""
    if len(members) != len(values):
        raise ValueError(f"{len(values)} values for {len(members)} members")
    if len(members) < LEAST:
        raise ValueError(
            f"a predictor needs at least {LEAST} members, got {len(members)}"
        )
    if not np.isfinite(values).all():
        raise ValueError("a value to learn from must be finite; leave the others out")


def require_columns(members: Members, count: int) -> None:
    """Raises ``ValueError`` unless the members have that many columns."""
    if members.extra.shape[1] != count:
        raise ValueError(
            f"the predictor learnt from {count} columns, got {members.extra.shape[1]}"
        )
