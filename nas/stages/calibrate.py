"""Stage 2: measure extracted subnets on this device and fit the latency model.

A space with no more members than would be measured has all of them measured instead.
"""

import os
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from nas.experiment import Experiment
from nas.profile import LatencyProfile, Measurement, Role
from nas.progress import progress
from nas.provenance import processor
from nas.rundir import write_json
from nas.stages.context import Context
from nas.supernet import load_supernet
from search.latency_model import LatencyModel, PredictionError
from search.space import Genotypes
from supernets.latency import compile_all, measure, summary

POOL = 1000
"""Random members that the measured ones are picked from, evenly by operations."""


def calibrate(context: Context) -> None:
    """Writes the latency profile: the given one, or one measured here.

    Raises:
        UsageError: If the given profile is damaged or of another space or input.
    """
    profile = context.given_profile() or _measured(context)
    write_json(context.run.device, profile.to_json())
    told = _in_words(profile)
    context.console.print(f"latency on {profile.device}: {told}", highlight=False)


def _in_words(profile: LatencyProfile) -> str:
    """Says how far predictions can be relied on."""
    error = profile.error
    if error is None:
        return f"every member was measured, {len(profile.measurements)} subnets"
    return (
        f"held-out error {error.mape_percent:.1f}%, "
        f"{error.within_10_percent:.0f}% within 10%, tau {error.kendall_tau:.2f}"
    )


def _measured(context: Context) -> LatencyProfile:
    experiment = context.experiment
    space = experiment.model.space()
    model = error = None
    if experiment.latency.measures_all(space):
        genotypes = space.enumerate()
        measurements = measure_subnets(context, genotypes, ["member"] * len(genotypes))
    else:
        genotypes, roles = _chosen(experiment)
        measurements = measure_subnets(context, genotypes, roles)
        terms = experiment.model.latency_terms(genotypes)
        measured = np.asarray([m.latency_ms for m in measurements])
        fitted = np.asarray([role == "fit" for role in roles])
        model = LatencyModel.fit(terms[fitted], measured[fitted])
        predicted = model.predict(terms[~fitted])
        error = PredictionError.of(predicted, measured[~fitted])
    return LatencyProfile(
        device=processor(),
        fingerprint=space.fingerprint,
        batch=experiment.latency.batch,
        example=experiment.data.example,
        measurements=measurements,
        model=model,
        error=error,
    )


def _chosen(experiment: Experiment) -> tuple[Genotypes, list[Role]]:
    """Picks members evenly spread by operations; the extremes go to the fit."""
    model, held_out = experiment.model, experiment.latency.held_out
    space = model.space()
    rng = np.random.default_rng([experiment.seed, POOL])
    ends = np.stack([space.smallest, space.largest])
    pool = np.unique(np.concatenate([ends, space.sample(POOL, rng)]), axis=0)
    macs = model.costs(pool, batch=1, example=experiment.data.example)["macs"]
    order = np.argsort(macs, kind="stable")
    count = min(experiment.latency.fit + held_out, len(pool))
    picked = pool[order[np.linspace(0, len(pool) - 1, count).round().astype(int)]]
    inner = np.linspace(1, count - 2, min(held_out, count - 2)).round().astype(int)
    roles: list[Role] = ["held_out" if i in inner else "fit" for i in range(count)]
    return picked, roles


def measure_subnets(
    context: Context, genotypes: Genotypes, roles: Sequence[Role]
) -> tuple[Measurement, ...]:
    """Extracts, compiles and times subnets together, in shuffled rounds."""
    experiment = context.experiment
    supernet = load_supernet(context.run)
    space = experiment.model.space()
    inputs, _ = experiment.data.fixed("search", experiment.latency.batch)
    networks = [experiment.model.extract(supernet, space.decode(g)) for g in genotypes]
    with progress(context.console, "compile", len(networks), "subnets") as update:
        programs = compile_all(
            networks,
            jnp.asarray(inputs),
            on_compiled=update,
            threads=os.cpu_count() or 1,
        )
    samples = measure(programs, rounds=experiment.latency.rounds, seed=experiment.seed)
    rows = zip(genotypes, roles, summary(samples), samples, strict=True)
    return tuple(
        Measurement(
            genotype=tuple(int(gene) for gene in genotype),
            role=role,
            latency_ms=float(latency),
            samples_ms=tuple(np.round(timed, 4).tolist()),
        )
        for genotype, role, latency, timed in rows
    )
