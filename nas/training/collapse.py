"""The alarm for a subnet that loses what it had learnt while others keep it."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

LOST = 0.1
"""Share of what a subnet had learnt whose loss counts as a collapse."""

LEARNT = 0.1
"""Share of the loss of guessing that a subnet must have shed before it can collapse.
Below, noise is as large as what there is to lose."""

VALIDATIONS = 2
"""Consecutive validations that must agree."""

NOISE = 4.0
"""A collapse is this many times larger than the usual noise of the subnet."""


class Collapse(NamedTuple):
    """What the alarm says.

    Attributes:
        label: The subnet's name in the panel.
        step: Of the validation that raised it.
        loss: There, in the unit of losses.
        best: The lowest loss that the subnet had held before.
        best_step: When.
    """

    label: str
    step: int
    loss: float
    best: float
    best_step: int


class _Level(NamedTuple):
    """A loss, and when it was; levels are compared by loss."""

    loss: float
    step: int


@dataclasses.dataclass
class _Record:
    """What is known of one subnet.

    Attributes:
        best: The lowest loss that two validations in a row did not exceed.
        last: At the validation before.
        changes: From validation to validation, of the distance to the panel's median.
        suspicious: Validations in a row that speak of a collapse.
        told: Whether it has been told, and the subnet has not recovered.
    """

    best: _Level
    last: _Level | None = None
    distance: float = math.nan
    changes: list[float] = dataclasses.field(default_factory=list)
    suspicious: int = 0
    told: bool = False

    @property
    def noise(self) -> float:
        """The standard deviation of the loss around its course."""
        # Robust, so that the collapse itself does not count as noise.
        return 1.4826 / math.sqrt(2) * float(np.median(self.changes or [0.0]))

    def take(self, level: _Level, distance: float) -> None:
        """Takes a validation."""
        if self.last is not None:
            held = max(self.last, level)
            self.best = held if held.loss < self.best.loss else self.best
        if math.isfinite(change := abs(distance - self.distance)):
            self.changes.append(change)
        self.last, self.distance = level, distance


class CollapseAlarm:
    r"""Watches the validation losses of a panel.

    Of subnet :math:`i` at one validation, with :math:`b_i` the lowest loss that it has
    held so far and :math:`g` the loss of guessing, the share that it has lost is

    .. math:: e_i = (l_i - b_i) / (g - b_i).

    Noise and a rate that is too high move all subnets, which share their weights;
    collapse is what some do alone. So its share is compared with :math:`q_i`, the lower
    quartile of the other subnets' shares: a subnet collapses when :math:`e_i - q_i`
    exceeds `LOST`, and `NOISE` times what its loss usually moves beside the others, at
    `VALIDATIONS` consecutive validations. It is told once, and again only if it has
    recovered half of the way in between.

    Subnets count from the first validation at which they are being trained. One that no
    step has trained yet has nothing to lose.

    Args:
        guessing: The loss of a uniform guess, in the unit of the losses.
    """

    def __init__(self, guessing: float) -> None:
        self.guessing = guessing
        self._records: dict[str, _Record] = {}

    def observe(
        self, step: int, losses: Mapping[str, float], trained: Iterable[str]
    ) -> list[Collapse]:
        """Takes one validation and returns the collapses that it proves.

        Args:
            step: Of the validation; calls are in its order.
            losses: Of every subnet of the panel, in the unit of losses.
            trained: The subnets that are being trained.
        """
        for label in trained:
            self._records.setdefault(label, _Record(_Level(self.guessing, step)))
        watched = {label: losses[label] for label in losses if label in self._records}
        shares = {label: self._share(label, loss) for label, loss in watched.items()}
        median = float(np.median(list(watched.values()))) if watched else math.nan
        found = []
        for label, loss in watched.items():
            record = self._records[label]
            others = [share for other, share in shares.items() if other != label]
            excess = shares[label] - _lower_quartile(others)
            if self._proves(record, excess):
                found.append(Collapse(label, step, loss, *record.best))
            record.take(_Level(loss, step), loss - median)
        return found

    def _share(self, label: str, loss: float) -> float:
        """Returns the share of what was learnt that is lost; 0 if it was little."""
        best = self._records[label].best.loss
        if best > (1 - LEARNT) * self.guessing:
            return 0.0
        if not math.isfinite(loss):
            return math.inf
        return max(loss - best, 0.0) / (self.guessing - best)

    def _proves(self, record: _Record, excess: float) -> bool:
        learnt = max(self.guessing - record.best.loss, 0.0)
        beyond_noise = excess * learnt > NOISE * record.noise
        suspicious = excess > LOST and beyond_noise
        record.suspicious = record.suspicious + 1 if suspicious else 0
        if excess < LOST / 2:
            record.told = False
        if record.told or record.suspicious < VALIDATIONS:
            return False
        record.told = True
        return True


def _lower_quartile(shares: list[float]) -> float:
    # Without others nobody can tell noise from collapse.
    return float(np.quantile(shares, 0.25, method="lower")) if shares else math.inf
