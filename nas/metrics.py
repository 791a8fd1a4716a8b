"""Metrics of subnets: the cheap ones, and the scores that training ended with."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from nas.errors import RunError, UsageError
from nas.experiment import Experiment, ModelSpec
from nas.gradient.checks import require_movable
from nas.latency.devices import stored_devices
from nas.metric_names import LATENCY, metric_of, module_and_function
from nas.own_metrics import own_metrics
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, read_json_lines
from search.constraints import Bound
from search.problem import Metrics, Problem
from search.space import Genotypes
from supernets.gradient_search.specs import GradientSearch

Devices = Mapping[str, LatencyProfile]
"""Profiles by the name of the device."""

LANDMARKS = ("smallest", "middle", "largest")
"""Subnets that are validated during training and shown beside every front."""


@dataclasses.dataclass(frozen=True)
class CheapMetrics:
    """Prices subnets without building them: exact costs, and predicted latencies.

    Attributes:
        model: Gives costs and latency terms.
        batch: Examples in the priced call.
        example: Shape of each.
        profiles: Of devices, by the metric that each gives: ``latency_ms``, or of a
            named device as ``latency_ms_phone``.
        own: Functions of one's own; see `nas.own_metrics`.
    """

    model: ModelSpec
    batch: int
    example: tuple[int, ...]
    profiles: Mapping[str, LatencyProfile]
    own: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        profile: LatencyProfile | None,
        devices: Devices | None = None,
    ) -> "CheapMetrics":
        """Returns the metrics of an experiment's deployed input.

        Args:
            experiment: Whose.
            profile: Of this machine, or what was given instead; without one there is
                no ``latency_ms``.
            devices: Profiles of further devices, by name.
        """
        profiles = {} if profile is None else {LATENCY: profile}
        profiles |= {metric_of(n): given for n, given in (devices or {}).items()}
        return cls(
            experiment.model,
            experiment.latency.batch,
            experiment.data.example,
            profiles,
            experiment.search.metrics,
        )

    def __call__(self, genotypes: Genotypes) -> Metrics:
        """Returns every cheap metric of every genotype."""
        metrics = self.model.costs(genotypes, batch=self.batch, example=self.example)
        space = self.model.space()
        members = space.canonical(genotypes)
        for name, profile in self.profiles.items():
            metrics[name] = profile.predict(members, self.model)
        return metrics | own_metrics(self.own, space, members)

    def only(self, names: Collection[str]) -> "CheapMetrics":
        """Returns the same without the latencies and functions of other names."""
        return dataclasses.replace(
            self,
            profiles={n: given for n, given in self.profiles.items() if n in names},
            own=tuple(m for m in self.own if module_and_function(m)[1] in names),
        )

    def measured_or(self, genotypes: Genotypes, predicted: Metrics) -> Metrics:
        """Returns latencies as measured, and as predicted where there are none.

        Args:
            genotypes: Members of the space, canonical.
            predicted: Their metrics; all but latencies are left out of the result.
        """
        return {
            name: profile.measured_or(genotypes, predicted[name])
            for name, profile in self.profiles.items()
        }

    def resolve(self, bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
        """Turns percentages into absolute bounds.

        A percentage of latency is of the largest subnet's measured latency, so that it
        means what the measurement says and not what the model makes of it.

        Raises:
            UsageError: If a percentage is of a value that is not positive.
        """
        largest = self.model.space().largest[None]
        metrics = self(largest)
        for name, profile in self.profiles.items():
            original = profile.before_front()
            metrics[name] = original.measured_or(largest, metrics[name])
        known = [bound for bound in bounds if bound.metric in metrics]
        return tuple(
            _absolute(bound, float(metrics[bound.metric][0])) for bound in known
        )


def _absolute(bound: Bound, largest: float) -> Bound:
    try:
        return bound.resolve(largest)
    except ValueError as error:
        raise UsageError(f"search.constraints: {error}") from error


def make_problem(
    experiment: Experiment,
    profile: LatencyProfile | None,
    devices: Devices | None = None,
) -> Problem:
    """Returns the constrained problem of an experiment.

    Without a profile, bounds and objectives on latency are left out: what remains says
    before any training whether the other bounds can be met.

    Args:
        experiment: What is searched.
        profile: Of this machine, or what was given instead.
        devices: Profiles of further devices, by name.

    Raises:
        UsageError: If a percentage is of a metric that is not positive, or a metric of
            one's own is not one.
    """
    cheap = CheapMetrics.of(experiment, profile, devices)
    bounds, scores = experiment.search.bounds, experiment.scores
    absolute = tuple(bound for bound in bounds if bound.metric in scores)
    known = tuple(bound for bound in bounds if bound.metric not in scores)
    return Problem(
        space=experiment.model.space(),
        objectives=experiment.search.objectives,
        bounds=(*cheap.resolve(known), *absolute),
        cheap=cheap,
    )


def problem_of(experiment: Experiment, run: RunDirectory) -> Problem:
    """Returns the problem of an experiment with the profiles that its run holds."""
    return make_problem(
        experiment, LatencyProfile.load(run.device), stored_devices(run)
    )


def cheap_of(experiment: Experiment, run: RunDirectory) -> CheapMetrics:
    """Returns the cheap metrics of an experiment with the profiles of its run."""
    profile = LatencyProfile.load(run.device)
    return CheapMetrics.of(experiment, profile, stored_devices(run))


def require_askable(experiment: Experiment, problem: Problem) -> None:
    """Makes sure that each algorithm has something to look at.

    Raises:
        UsageError: If the space is not one that it can search.
        InfeasibleError: If no architecture satisfies the bounds on cheap metrics.
    """
    for algorithm in experiment.search.algorithms:
        try:
            if isinstance(algorithm, GradientSearch):
                require_movable(problem, algorithm, experiment.scores)
                continue
            state = algorithm.init(problem, experiment.seed)
            algorithm.ask(problem, state)
        except ValueError as error:
            name = type(algorithm).__name__
            raise UsageError(f"search.algorithm {name}: {error}") from error


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
