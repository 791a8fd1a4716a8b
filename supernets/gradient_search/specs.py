"""A search by gradient as plain values: what moves, by which rule, for how long."""

import dataclasses

from supernets.gradient_search.samplings import Dirichlet, SamplingSpec
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.registry import OptimizerSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoStage:
    """Weights stand still: they were trained before, on subnets.

    The mixture then is not something that weights can fit themselves to, and what is
    chosen is as good as it was when it was trained.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alternating:
    """Each step moves the architecture on one batch, then the weights on another.

    The first-order bi-level loop of DARTS and TangleNAS: the two halves of the data are
    kept apart.
    """

    optimizer: OptimizerSpec = AdamW()
    """Of the weights."""
    sampling: SamplingSpec | None = None
    """How the mixture that weights learn from is drawn; unless given, as that of the
    architecture. `SinglePath` keeps weights from fitting themselves to a mixture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint:
    """Each step moves the architecture and the weights by one gradient on one batch.

    With a soft mixture weights rescale to undo its masks: the largest choice wins
    whatever it is worth. Draws of `Dirichlet` or `Gumbel` suffer less.
    """

    optimizer: OptimizerSpec = AdamW()
    """Of the weights."""


RegimeSpec = TwoStage | Alternating | Joint
"""What moves in a step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Multipliers:
    """What breaking a bound costs, in nats for each time the limit is exceeded.

    After each step a multiplier rises by the rate times how far the subnet that the
    architecture now stands for is above its limit, relative to it, and falls where it
    is below (dual ascent).

    Raises:
        ValueError: If a value is negative.
    """

    initial: float = 0.0
    """At the first step."""
    rate: float = 0.05
    """How fast they move; at 0 they stay, and costs are a fixed price."""

    def __post_init__(self) -> None:
        for name in ("initial", "rate"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientSearch:
    """A search by gradient over mixtures of all subnets (TangleNAS, Sukthanker 2024).

    Raises:
        ValueError: If a value is out of range, or the sampling learns nothing.
    """

    steps: int = 300
    """Batches that the architecture learns from, for each set of bounds."""
    batch: int = 32
    """Examples in each of them."""
    sweep: int = 4
    """Limits of each objective that needs no evaluation, spread evenly up to its bound,
    or to the largest subnet's value; each gives a search of its own, whose best subnet
    is a point of the front."""
    regime: RegimeSpec = TwoStage()
    """What moves in a step."""
    sampling: SamplingSpec = Dirichlet()
    """How the mixture of a step is drawn."""
    learning_rate: float = 0.1
    """Of the logits (Adam). The papers have 3e-4, for tens of thousands of steps."""
    weight_decay: float = 1e-3
    """Of the logits, added to their gradient as in the papers."""
    clip: float = 5.0
    """Largest norm of the gradient of all logits."""
    multipliers: Multipliers = Multipliers()
    """How bounds press on the architecture."""
    samples: int = 16
    """Subnets that the mean of a cost is estimated from, if it is no sum of parts that
    depend on few choices each."""
    decode_every: int = 10
    """Steps between subnets that are decoded and evaluated. Weights that move are only
    evaluated at the end."""
    refine: int = 64
    """Subnets that are evaluated after the last step, at most: those one or two choices
    away from the best."""
    prune: bool = True
    """Stop searches that are behind those of other seeds within the same bounds (ASHA),
    where there are several seeds. Off, every seed is searched to its end, as for a fair
    comparison with other algorithms."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "sweep", "samples", "decode_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("weight_decay", "refine"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)}"
                )
        if not self.sampling.learns:
            raise ValueError(
                f"draws of {type(self.sampling).__name__} do not depend on the "
                "architecture, which would learn nothing; give it to the weights, as "
                "regime.sampling of Alternating"
            )
