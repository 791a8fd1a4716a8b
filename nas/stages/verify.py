"""Stage 4: measure the predicted front, keep what holds, and test it on unseen data."""

import dataclasses

import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from nas.errors import RunError
from nas.metrics import LANDMARKS, CheapMetrics, final_validation, make_problem
from nas.profile import LatencyProfile, Measurement
from nas.rundir import write_json
from nas.stages.calibrate import measure_subnets
from nas.stages.context import Context
from nas.supernet import load_supernet
from search.archive import Archive, Record
from search.pareto import non_dominated, non_dominated_ranks
from search.problem import Metrics, Problem
from search.space import Genotypes
from supernets.evaluation import make_evaluate

TEST_WINDOWS = 64
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
    problem = make_problem(experiment, LatencyProfile.load(run.device))
    records = Archive(run.archive).records
    chosen = candidates(problem, records, experiment.search.candidates)
    genotypes = np.asarray([record.genotype for record in chosen], np.int32)
    profile = _measured(context, genotypes)
    predicted = _columns(chosen)
    metrics = dict(predicted)
    latencies = profile.measured_or(genotypes, predicted["latency_ms"])
    metrics["latency_ms"] = latencies
    kept = _kept(problem, metrics)
    if not len(kept):
        raise RunError(
            f"none of the {len(chosen)} candidates satisfies "
            f"{[str(bound) for bound in problem.bounds]} once measured: the device may "
            f"have been busy. Remove {run.device} and run the same command again, or "
            "raise the limit with another --out"
        )
    context.console.print(
        f"front: {len(kept)} of {len(chosen)} measured candidates hold", highlight=False
    )
    landmarks = np.stack([getattr(problem.space, name) for name in LANDMARKS])
    test_losses = _test_losses(context, np.concatenate([genotypes[kept], landmarks]))
    metrics["test_loss"] = np.full(len(genotypes), np.nan)
    metrics["test_loss"][kept] = test_losses[: len(kept)]
    front = [
        {
            "id": problem.space.decode(genotypes[row]).id,
            "arch": chosen[row].arch,
            "metrics": {name: float(values[row]) for name, values in metrics.items()},
            "predicted": {"latency_ms": float(predicted["latency_ms"][row])},
            "why": _why(metrics, kept, position),
        }
        for position, row in enumerate(kept)
    ]
    tail = test_losses[len(kept) :]
    write_json(run.landmarks, _landmarks(context, profile, landmarks, tail))
    write_json(run.front, front)


def candidates(
    problem: Problem, records: tuple[Record, ...], count: int
) -> list[Record]:
    """Returns the predicted front, then the fronts behind it, up to a count.

    Those behind are measured too, because measuring can lift them in front of others.
    Where a front has more than there is room for, it is thinned evenly.

    Raises:
        InfeasibleError: If none satisfies the bounds, which can only be known now of
            those on the loss.
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
    names = records[0].metrics if records else ()
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


def _kept(problem: Problem, metrics: Metrics) -> Int[np.ndarray, " front"]:
    """Returns the rows that form the front, fastest first."""
    satisfied = np.flatnonzero(problem.violations(metrics) <= 0)
    objectives = problem.objectives_of(metrics)
    front = satisfied[non_dominated(objectives[satisfied])]
    return front[np.argsort(metrics["latency_ms"][front], kind="stable")]


def _why(metrics: Metrics, kept: Int[np.ndarray, " front"], position: int) -> str:
    row = kept[position]
    reasons = []
    if position == 0:
        reasons.append("fastest of the front")
    if metrics["loss"][row] == metrics["loss"][kept].min():
        reasons.append("lowest loss within the constraints")
    limit = f"{metrics['latency_ms'][row]:.3g} ms"
    return "; ".join(reasons) or f"lowest loss of all measured up to {limit}"


def _test_losses(
    context: Context, genotypes: Genotypes
) -> Float[np.ndarray, " population"]:
    experiment = context.experiment
    supernet = load_supernet(context.run)
    evaluate = make_evaluate(supernet, experiment.model.space())
    windows = experiment.data.fixed("test", TEST_WINDOWS)
    return evaluate(nnx.state(supernet, nnx.Param), genotypes, *windows)


def _landmarks(
    context: Context,
    profile: LatencyProfile,
    genotypes: Genotypes,
    test_losses: Float[np.ndarray, " population"],
) -> dict[str, object]:
    """Returns the smallest, middle and largest subnet with all their metrics.

    Their loss on the search split is what training ended with: validation and search
    look at the same windows.
    """
    validation = final_validation(context.run)
    metrics = CheapMetrics.of(context.experiment, profile)(genotypes)
    metrics["latency_ms"] = profile.measured_or(genotypes, metrics["latency_ms"])
    metrics["loss"] = np.asarray([validation[name] for name in LANDMARKS])
    metrics["test_loss"] = test_losses
    space = context.experiment.model.space()
    return {
        label: {
            "arch": space.decode(genotypes[row]).to_json(),
            "metrics": {name: float(values[row]) for name, values in metrics.items()},
            "measured": tuple(genotypes[row].tolist()) in profile.measured,
        }
        for row, label in enumerate(LANDMARKS)
    }
