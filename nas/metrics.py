"""Metrics of subnets: the cheap ones, their names and units for people."""

import dataclasses

from nas.errors import RunError
from nas.experiment import Experiment
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, read_json_lines
from search.constraints import Bound
from search.problem import Metrics, Problem
from search.space import Genotypes
from supernets.decoder.spec import Decoder

LANDMARKS = ("smallest", "middle", "largest")
"""Subnets that are validated during training and shown beside every front."""

LOSS_UNIT = "bits per byte"
"""Unit of every loss that a person sees and every file holds."""


@dataclasses.dataclass(frozen=True)
class CheapMetrics:
    """Prices subnets without building them: exact costs, and predicted latency.

    Attributes:
        model: Gives costs and latency terms.
        batch: Sequences in the priced call.
        tokens: Length of each.
        profile: Of the device; without one there is no ``latency_ms``.
    """

    model: Decoder
    batch: int
    tokens: int
    profile: LatencyProfile | None

    @classmethod
    def of(
        cls, experiment: Experiment, profile: LatencyProfile | None
    ) -> "CheapMetrics":
        """Returns the metrics of an experiment's deployed input."""
        return cls(
            experiment.model, experiment.latency.batch, experiment.data.tokens, profile
        )

    def __call__(self, genotypes: Genotypes) -> Metrics:
        """Returns every cheap metric of every genotype."""
        metrics = self.model.costs(genotypes, batch=self.batch, tokens=self.tokens)
        if self.profile is not None:
            terms = self.model.latency_terms(genotypes)
            metrics["latency_ms"] = self.profile.model.predict(terms)
        return metrics

    def resolve(self, bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
        """Turns percentages into absolute bounds.

        A percentage of latency is of the largest subnet's measured latency, so that it
        means what the measurement says and not what the model makes of it.
        """
        largest = self.model.space().largest[None]
        metrics = self(largest)
        if self.profile is not None:
            predicted = metrics["latency_ms"]
            original = self.profile.before_front()
            metrics["latency_ms"] = original.measured_or(largest, predicted)
        known = [bound for bound in bounds if bound.metric in metrics]
        return tuple(bound.resolve(float(metrics[bound.metric][0])) for bound in known)


def make_problem(experiment: Experiment, profile: LatencyProfile | None) -> Problem:
    """Returns the constrained problem of an experiment.

    Without a profile, bounds and objectives on latency are left out: what remains says
    before any training whether the other bounds can be met.
    """
    cheap = CheapMetrics.of(experiment, profile)
    absolute = tuple(b for b in experiment.search.bounds if b.metric == "loss")
    known = tuple(b for b in experiment.search.bounds if b.metric != "loss")
    return Problem(
        space=experiment.model.space(),
        objectives=experiment.search.objectives,
        bounds=(*cheap.resolve(known), *absolute),
        cheap=cheap,
    )


def final_validation(run: RunDirectory) -> dict[str, float]:
    """Returns the losses of the landmarks that training ended with, in bits per byte.

    Raises:
        RunError: If the run's metrics hold none.
    """
    losses = [line.get("validation") for line in read_json_lines(run.metrics)]
    last = next((entry for entry in reversed(losses) if isinstance(entry, dict)), None)
    if last is None:
        raise RunError(f"{run.metrics} holds no validation; train again in a new --out")
    return {name: float(last[name]) for name in LANDMARKS}
