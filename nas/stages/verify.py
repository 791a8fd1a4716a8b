"""Stage 4: measure the predicted front, keep what holds, and test it on unseen data."""

import dataclasses
import math

import jax
import numpy as np
from flax import nnx
from jaxtyping import Int

from nas.data.dataset import Dataset, Examples, in_units, score_in_words
from nas.errors import RunError
from nas.front import Member, costs_of, write_front
from nas.latency.devices import stored_devices
from nas.metric_names import LATENCY
from nas.metrics import LANDMARKS, CheapMetrics, final_validation, problem_of
from nas.profile import LatencyProfile, Measurement
from nas.report.costs import cost_of
from nas.rundir import write_json
from nas.stages.calibrate import measure_subnets
from nas.stages.context import Context
from nas.supernet import load_supernet
from search.archive import Archive, Record
from search.pareto import non_dominated, non_dominated_ranks
from search.problem import Metrics, Problem
from search.space import Genotypes
from supernets.evaluation import make_evaluate

TEST_PREDICTIONS = 8192
"""Predictions that test scores are means over, where the split has as many."""

ANCHORS = 3
"""Subnets of the fit that are measured again with the front."""

NOTABLE_DRIFT = 0.1


def verify(context: Context) -> None:
    """Writes the front: measured, within the constraints, mutually non-dominated.

    Subnets are compared on the search split and reported on the test split. Latency is
    measured here unless a profile was given; then it is the profile's.

    Raises:
        InfeasibleError: If nothing that was evaluated satisfies the constraints.
        RunError: If no candidate does once it is measured.
    """
    experiment, run = context.experiment, context.run
    problem = problem_of(experiment, run)
    records = problem.completed(Archive(run.archive).records)
    chosen = candidates(problem, records, experiment.search.candidates)
    genotypes = np.asarray([record.genotype for record in chosen], np.int32)
    profile = _measured(context, genotypes)
    predicted = _columns(chosen)
    metrics = dict(predicted)
    cheap = CheapMetrics.of(experiment, profile, stored_devices(run))
    latencies = cheap.measured_or(genotypes, predicted)
    metrics |= latencies
    cost = costs_of(experiment)[0]
    kept = _kept(problem, metrics, cost)
    if not len(kept):
        raise RunError(
            f"none of the {len(chosen)} candidates satisfies "
            f"{[str(bound) for bound in problem.bounds]} once measured: the device may "
            f"have been busy. Remove {run.device} and run the same command again, or "
            "search under another limit (`nas search DIR --constraint ...`)"
        )
    context.console.print(
        f"front: {len(kept)} of {len(chosen)} measured candidates hold", highlight=False
    )
    landmarks = np.stack([getattr(problem.space, name) for name in LANDMARKS])
    tested = _test_scores(context, np.concatenate([genotypes[kept], landmarks]))
    for name, values in tested.items():
        metrics[name] = np.full(len(genotypes), np.nan)
        metrics[name][kept] = values[: len(kept)]
    front = [
        Member(
            arch=problem.space.decode(genotypes[row]),
            metrics={name: float(values[row]) for name, values in metrics.items()},
            predicted={name: float(predicted[name][row]) for name in latencies},
            why=_why(metrics, kept, position, experiment.shown, cost),
        )
        for position, row in enumerate(kept)
    ]
    _tell_misses(context, front)
    tail = {name: values[len(kept) :] for name, values in tested.items()}
    write_json(run.landmarks, _landmarks(context, profile, landmarks, tail))
    write_front(run.front, front)


def candidates(
    problem: Problem, records: tuple[Record, ...], count: int
) -> list[Record]:
    """Returns the predicted front, then the fronts behind it, up to a count.

    Those behind are measured too, because measuring can lift them in front of others.
    Where a front has more than there is room for, it is thinned evenly.

    Raises:
        InfeasibleError: If none satisfies the bounds, which can only be known now of
            those on scores.
    """
    metrics = _columns(records)
    objectives = problem.objectives_of(metrics)
    violations = problem.violations(metrics)
    feasible = np.flatnonzero(violations <= 0)
    if not len(feasible):
        genotypes = np.asarray([record.genotype for record in records], np.int32)
        raise problem.infeasible(genotypes, metrics)
    ranks = non_dominated_ranks(objectives[feasible], violations[feasible])
    chosen: list[int] = []
    for rank in range(int(ranks.max(initial=-1)) + 1):
        front = feasible[ranks == rank]
        front = front[np.lexsort(objectives[front].T)]
        room = count - len(chosen)
        if len(front) > room:
            front = front[np.linspace(0, len(front) - 1, room).round().astype(int)]
        chosen += front.tolist()
        if len(chosen) >= count:
            break
    return [records[row] for row in chosen]


def _columns(records: tuple[Record, ...] | list[Record]) -> Metrics:
    # Those of an earlier search may lack what a later one computes, as proxies.
    first = records[0].metrics if records else ()
    names = [n for n in first if all(n in r.metrics for r in records)]
    return {n: np.asarray([r.metrics[n] for r in records], float) for n in names}


def _measured(context: Context, genotypes: Genotypes) -> LatencyProfile:
    """Returns the profile with every candidate measured, or as it was given."""
    profile = LatencyProfile.load(context.run.device)
    if profile.given:
        return profile
    known = {m.genotype for m in profile.measurements if m.role == "front"}
    new = np.asarray([tuple(g) not in known for g in genotypes.tolist()])
    if new.any():
        measurements = _without_drift(context, profile, genotypes[new])
        profile = profile.with_front(measurements)
        write_json(context.run.device, profile.to_json())
    return profile


def _without_drift(
    context: Context, profile: LatencyProfile, genotypes: Genotypes
) -> tuple[Measurement, ...]:
    """Measures subnets, with some of the fit again to tell how the device changed.

    A machine that is busier or cooler than when the model was fitted shifts all
    latencies alike, and the constraints with them. The shift is measured, taken out,
    and said.
    """
    anchors = profile.anchors(ANCHORS)
    rows = np.asarray([anchor.genotype for anchor in anchors], np.int32)
    measured = measure_subnets(
        context,
        np.concatenate([rows, genotypes]),
        ["front"] * (len(rows) + len(genotypes)),
    )
    again = np.asarray([m.latency_ms for m in measured[: len(anchors)]])
    before = np.asarray([anchor.latency_ms for anchor in anchors])
    drift = float(np.median(again / before))
    if abs(drift - 1) > NOTABLE_DRIFT:
        context.warn(
            f"this device ran at {drift:.2f} x the latencies of its profile; latencies "
            "are given as of the profile. A quiet machine measures better"
        )
    return tuple(
        dataclasses.replace(m, latency_ms=m.latency_ms / drift, drift=drift)
        for m in measured[len(anchors) :]
    )


def _kept(problem: Problem, metrics: Metrics, cost: str) -> Int[np.ndarray, " front"]:
    """Returns the rows that form the front, those of the least cost first."""
    satisfied = np.flatnonzero(problem.violations(metrics) <= 0)
    objectives = problem.objectives_of(metrics)
    front = satisfied[non_dominated(objectives[satisfied])]
    return front[np.lexsort((metrics[LATENCY][front], metrics[cost][front]))]


def _why(
    metrics: Metrics,
    kept: Int[np.ndarray, " front"],
    position: int,
    shown: tuple[str, ...],
    cost: str,
) -> str:
    """Returns what a member of the front is the best at."""
    row, cheaper, named = kept[position], kept[: position + 1], cost_of(cost)

    def best_among(rows: Int[np.ndarray, " rows"]) -> list[str]:
        return [n for n in shown if metrics[n][row] == metrics[n][rows].min()]

    reasons = [f"{named.least} of the front"] if position == 0 else []
    reasons += [
        f"lowest {score_in_words(name)} within the constraints"
        for name in best_among(kept)
    ]
    if reasons:
        return "; ".join(reasons)
    if best := best_among(cheaper):
        words = " and ".join(score_in_words(name) for name in best)
        unit = named.unit(metrics[cost][kept])
        most = f"{metrics[cost][row] / unit.size:.3g} {named.of(unit)}"
        return f"lowest {words} of all up to {most}"
    return "none is as good or better in all objectives"


def test_examples(data: Dataset) -> Examples:
    """Returns what test scores are told of."""
    each = max(np.size(labels) for labels in jax.tree.leaves(data.fixed("test", 1)[1]))
    return data.fixed("test", math.ceil(TEST_PREDICTIONS / each))


def _test_scores(context: Context, genotypes: Genotypes) -> Metrics:
    """Returns the scores on the test split, losses in the unit of the data."""
    experiment = context.experiment
    data, supernet = experiment.data, load_supernet(context.run)
    evaluate = make_evaluate(
        supernet,
        experiment.model.space(),
        adversary=experiment.search.adversary,
        execution=experiment.execution,
    )
    inputs, targets = test_examples(data)
    found = evaluate(nnx.state(supernet, nnx.Param), genotypes, inputs, targets)
    return {f"test_{name}": values for name, values in in_units(data, found).items()}


def _tell_misses(context: Context, front: list[Member]) -> None:
    """Warns of members whose latency the search had wrong."""
    for member in front:
        for metric, share in member.misses.items():
            context.warn(
                f"{metric} of {member.id} was predicted {abs(share):.0%} too "
                f"{'high' if share > 0 else 'low'}; the front has it as measured"
            )


def _landmarks(
    context: Context, profile: LatencyProfile, genotypes: Genotypes, tested: Metrics
) -> dict[str, object]:
    """Returns the smallest, middle and largest subnet with all their metrics.

    Their scores on the search split are what training ended with: validation and
    search look at the same examples.
    """
    devices = stored_devices(context.run)
    cheap = CheapMetrics.of(context.experiment, profile, devices)
    metrics = cheap(genotypes)
    metrics |= cheap.measured_or(genotypes, metrics)
    for name, values in final_validation(context.run).items():
        metrics[name] = np.asarray([values[label] for label in LANDMARKS])
    metrics |= tested
    space = context.experiment.model.space()
    return {
        label: {
            "arch": space.decode(genotypes[row]).to_json(),
            "metrics": {name: float(values[row]) for name, values in metrics.items()},
            "measured": tuple(genotypes[row].tolist()) in profile.measured,
        }
        for row, label in enumerate(LANDMARKS)
    }
