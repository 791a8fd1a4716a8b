"""Metrics of subnets: the cheap ones, and the scores that training ended with."""

import dataclasses
from typing import Any, TypeGuard

from nas.errors import RunError, UsageError
from nas.experiment import Experiment, ModelSpec
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, read_json_lines
from search.constraints import Bound
from search.problem import Metrics, Problem
from search.space import Genotypes

LANDMARKS = ("smallest", "middle", "largest")
"""Subnets that are validated during training and shown beside every front."""


@dataclasses.dataclass(frozen=True)
class CheapMetrics:
    """Prices subnets without building them: exact costs, and predicted latency.

    Attributes:
        model: Gives costs and latency terms.
        batch: Examples in the priced call.
        example: Shape of each.
        profile: Of the device; without one there is no ``latency_ms``.
    """

    model: ModelSpec
    batch: int
    example: tuple[int, ...]
    profile: LatencyProfile | None

    @classmethod
    def of(
        cls, experiment: Experiment, profile: LatencyProfile | None
    ) -> "CheapMetrics":
        """Returns the metrics of an experiment's deployed input."""
        return cls(
            experiment.model, experiment.latency.batch, experiment.data.example, profile
        )

    def __call__(self, genotypes: Genotypes) -> Metrics:
        """Returns every cheap metric of every genotype."""
        metrics = self.model.costs(genotypes, batch=self.batch, example=self.example)
        if self.profile is not None:
            terms = self.model.latency_terms(genotypes)
            members = self.model.space().canonical(genotypes)
            metrics["latency_ms"] = self.profile.predict(members, terms)
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
    bounds, scores = experiment.search.bounds, experiment.scores
    absolute = tuple(bound for bound in bounds if bound.metric in scores)
    known = tuple(bound for bound in bounds if bound.metric not in scores)
    return Problem(
        space=experiment.model.space(),
        objectives=experiment.search.objectives,
        bounds=(*cheap.resolve(known), *absolute),
        cheap=cheap,
    )


def require_askable(experiment: Experiment, problem: Problem) -> None:
    """Makes sure that the algorithm has something to propose.

    Raises:
        UsageError: If the space is not one that it can search.
        InfeasibleError: If no architecture satisfies the bounds on cheap metrics.
    """
    algorithm = experiment.search.algorithm
    try:
        state = algorithm.init(problem, experiment.seed)
        algorithm.ask(problem, state)
    except ValueError as error:
        raise UsageError(f"search.algorithm: {error}") from error


def final_validation(run: RunDirectory) -> dict[str, dict[str, float]]:
    """Returns the scores of the landmarks that training ended with.

    By the name of the score, then of the landmark; losses in the unit of the data.

    Raises:
        RunError: If the run's metrics hold none.
    """
    lines = [line for line in read_json_lines(run.metrics) if "validation" in line]
    if not lines:
        raise RunError(f"{run.metrics} holds no validation; train again in a new --out")
    last = lines[-1]
    others = last.get("scores")
    found = {"loss": last["validation"], **(others if _is_object(others) else {})}
    return {
        name: {label: float(values[label]) for label in LANDMARKS}
        for name, values in found.items()
        if _is_object(values)
    }


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
