"""How the learning rate goes over a run, as plain values.

All rise linearly from zero to the peak. What follows is a share of the peak, so that a
schedule fits any optimiser and any number of steps.
"""

import dataclasses
from typing import TYPE_CHECKING

from supernets.losses.loss import require_shares

if TYPE_CHECKING:
    import optax


def warmup_steps(share: float, steps: int) -> int:
    """Returns how many steps the rate rises: at least one, and never all.

    Args:
        share: Of the steps, 0 to 1.
        steps: Of the run; one of a single step is taken for one of two.
    """
    return min(max(1, round(share * steps)), max(2, steps) - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine from the peak to the floor (Loshchilov 2017, Eq. 5, one cycle).

    Raises:
        ValueError: If a share is out of range.
    """

    warmup: float = 0.05
    """Share of the steps during which the rate rises, 0 to 1."""
    floor: float = 0.1
    """The last rate, as a share of the peak, 0 to 1."""

    def __post_init__(self) -> None:
        require_shares(warmup=self.warmup, floor=self.floor)

    def rates(self, peak: float, steps: int) -> "optax.Schedule":
        """Returns the rate of each step, from 0.

        Args:
            peak: The largest rate.
            steps: Of the run.
        """
        # Imported here, as below: reading a recipe starts no array library.
        import optax

        warmup, total = warmup_steps(self.warmup, steps), max(2, steps)
        return optax.warmup_cosine_decay_schedule(
            0.0, peak, warmup, total, self.floor * peak
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear:
    """A straight line from the peak to the floor.

    Raises:
        ValueError: If a share is out of range.
    """

    warmup: float = 0.05
    """Share of the steps during which the rate rises, 0 to 1."""
    floor: float = 0.0
    """The last rate, as a share of the peak, 0 to 1."""

    def __post_init__(self) -> None:
        require_shares(warmup=self.warmup, floor=self.floor)

    def rates(self, peak: float, steps: int) -> "optax.Schedule":
        """Returns the rate of each step; see `Cosine.rates`."""
        import optax

        warmup, total = warmup_steps(self.warmup, steps), max(2, steps)
        falling = optax.linear_schedule(peak, self.floor * peak, total - warmup)
        return _warmed_up(peak, warmup, falling)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmupStableDecay:
    """The peak for most of the run, then a straight line to the floor.

    Every checkpoint of the stable part can be decayed or trained on (MiniCPM, Hu 2024,
    arXiv 2404.06395, Eq. 1, which leaves the form of the decay open).

    Raises:
        ValueError: If a share is out of range, or both together exceed the run.
    """

    warmup: float = 0.05
    """Share of the steps during which the rate rises, 0 to 1."""
    decay: float = 0.1
    """Share of the steps, at the end, during which it falls, 0 to 1."""
    floor: float = 0.0
    """The last rate, as a share of the peak, 0 to 1."""

    def __post_init__(self) -> None:
        require_shares(warmup=self.warmup, decay=self.decay, floor=self.floor)
        if self.warmup + self.decay > 1.0:
            raise ValueError(
                "warmup and decay are shares of the same steps and add up to at most "
                f"1, got {self.warmup} and {self.decay}"
            )

    def rates(self, peak: float, steps: int) -> "optax.Schedule":
        """Returns the rate of each step; see `Cosine.rates`."""
        import optax

        warmup, total = warmup_steps(self.warmup, steps), max(2, steps)
        falls = min(max(1, round(self.decay * steps)), total - warmup)
        stable = total - warmup - falls
        falling = optax.linear_schedule(peak, self.floor * peak, falls, stable)
        return _warmed_up(peak, warmup, falling)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
    """The peak to the end.

    Raises:
        ValueError: If the share is out of range.
    """

    warmup: float = 0.05
    """Share of the steps during which the rate rises, 0 to 1."""

    def __post_init__(self) -> None:
        require_shares(warmup=self.warmup)

    def rates(self, peak: float, steps: int) -> "optax.Schedule":
        """Returns the rate of each step; see `Cosine.rates`."""
        import optax

        warmup = warmup_steps(self.warmup, steps)
        return _warmed_up(peak, warmup, optax.constant_schedule(peak))


Schedule = Cosine | Linear | WarmupStableDecay | Constant
"""Every schedule that a recipe may name."""


def _warmed_up(peak: float, warmup: int, then: "optax.Schedule") -> "optax.Schedule":
    import optax

    rising = optax.linear_schedule(0.0, peak, warmup)
    return optax.join_schedules([rising, then], [warmup])
