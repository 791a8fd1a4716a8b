"""The experiment: one frozen value that says everything a run does."""

import dataclasses

from kernels.executions import Execution
from nas.data import StdlibText
from search.constraints import Bound
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from supernets.decoder.spec import Decoder
from supernets.optimizer import AdamW
from supernets.sandwich import Sandwich

CHEAP_METRICS = ("params", "macs", "flops", "memory_mb", "latency_ms")
"""What is known of a subnet without running it."""

METRICS = ("loss", *CHEAP_METRICS)
"""Everything an objective or a constraint may name."""

LEAST_FIT = 8
"""Subnets that the latency model needs: as many as it has terms."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How the supernet is trained."""

    steps: int = 300
    """Updates."""
    batch: int = 8
    """Windows in a step; every subnet of the step sees the same ones."""
    policy: Sandwich = Sandwich()
    """Which subnets a step trains."""
    optimizer: AdamW = AdamW()
    """How their gradient becomes an update."""
    validate_every: int = 50
    """Steps between evaluations of the smallest, middle and largest subnet."""
    checkpoint_every: int = 50
    """Steps between checkpoints; a killed run loses at most these."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """How latency is measured on this device, and what model is fitted to it."""

    batch: int = 1
    """Sequences in the measured call; each has the data's number of tokens."""
    fit: int = 20
    """Extracted subnets measured to fit the model."""
    held_out: int = 8
    """Extracted subnets measured to tell the model's error."""
    rounds: int = 150
    """Times each subnet is timed, in shuffled rounds over all of them."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.rounds < 3:
            raise ValueError("latency needs batch >= 1 and rounds >= 3")
        if self.fit < LEAST_FIT or self.held_out < 2:
            raise ValueError(f"latency needs fit >= {LEAST_FIT} and held_out >= 2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched for, and with what effort."""

    algorithm: Nsga2 | RandomSearch = Nsga2()
    """The algorithm that proposes subnets."""
    baseline: bool = True
    """Also spend the same evaluations on random search, which any search must beat."""
    evaluations: int = 256
    """Subnets evaluated by each campaign."""
    objectives: tuple[str, ...] = ("loss", "latency_ms")
    """Metrics to minimise."""
    constraints: tuple[str, ...] = ("latency_ms <= 60%",)
    """Bounds such as "latency_ms <= 5"; a percentage is of the largest subnet."""
    windows: int = 32
    """Windows of the search split that a subnet is validated and evaluated on."""
    candidates: int = 12
    """Subnets of the predicted front that are measured before the front is shown."""
    evaluators: int = 1
    """Long-lived workers that evaluate subnets; one for each accelerator."""

    def __post_init__(self) -> None:
        for name in ("evaluations", "windows", "candidates", "evaluators"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(
                f"objectives are {self.objectives}; name some of {METRICS}, each once"
            )
        named = [*self.objectives, *(bound.metric for bound in self.bounds)]
        for metric in named:
            if metric not in METRICS:
                raise ValueError(
                    f"nothing computes the metric {metric!r}; there are {METRICS}"
                )
        for bound in self.bounds:
            if bound.percent and bound.metric not in CHEAP_METRICS:
                raise ValueError(
                    f"'{bound}': a percentage works for {CHEAP_METRICS}, which are "
                    f"known before the search; give an absolute {bound.metric}"
                )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The constraints, parsed."""
        return tuple(Bound.parse(constraint) for constraint in self.constraints)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A whole run: model, data, training, latency, search.

    Raises:
        ValueError: If the parts do not fit each other.
    """

    model: Decoder
    """The supernet and its search space."""
    data: StdlibText = StdlibText()
    """What it is trained and judged on."""
    train: Training = Training()
    """How it is trained."""
    latency: Latency = Latency()
    """How latency is measured."""
    search: Search = Search()
    """What is searched for."""
    execution: Execution = "auto"
    """How sampled subnets run; `nas show` says what auto comes to, and why."""
    seed: int = 0
    """The only source of randomness."""

    def __post_init__(self) -> None:
        size = self.model.space().size.value
        if size < 2:
            raise ValueError(
                "the space has one member: nothing to search; give some axis of the "
                "model at least two values"
            )
        if size < LEAST_FIT + self.latency.held_out:
            raise ValueError(
                f"the space has {size} members: too few to measure {LEAST_FIT} for the "
                f"latency model and hold out {self.latency.held_out}; give the model "
                "more values, or lower latency.held_out"
            )
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.model.vocabulary < 256:
            raise ValueError(
                f"vocabulary {self.model.vocabulary} is too small for bytes: 256"
            )
