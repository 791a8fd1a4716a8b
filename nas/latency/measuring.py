"""Measuring extracted subnets on the device that is here."""

import os
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console

from nas.data.dataset import Dataset, Inputs
from nas.experiment import Experiment
from nas.latency.sample import chosen
from nas.profile import LatencyProfile, Measurement, Role
from nas.progress import progress
from search.latency_model import fit_and_test
from search.space import Genotypes
from supernets.latency import compile_all, measure, summary


def measured_profile(
    experiment: Experiment, supernet: nnx.Module, *, device: str, console: Console
) -> LatencyProfile:
    """Measures members evenly spread over the space, and fits a model to them.

    Args:
        experiment: Whose space, input and effort.
        supernet: What subnets are taken from; latency does not depend on its weights.
        device: What the profile is called.
        console: Where progress is told.
    """
    space = experiment.model.space()
    genotypes, roles = chosen(experiment)
    measurements = measure_subnets(
        experiment, supernet, genotypes, roles, console=console
    )
    model = error = None
    if not experiment.latency.measures_all(space):
        model, error = fit_and_test(
            experiment.model.latency_terms(genotypes),
            np.asarray([m.latency_ms for m in measurements]),
            np.asarray([role == "held_out" for role in roles]),
        )
    return LatencyProfile(
        device=device,
        fingerprint=space.fingerprint,
        batch=experiment.latency.batch,
        example=experiment.data.example,
        measurements=measurements,
        model=model,
        error=error,
        kind="measured" if model is None else "predicted",
    )


def measure_subnets(
    experiment: Experiment,
    supernet: nnx.Module,
    genotypes: Genotypes,
    roles: Sequence[Role],
    *,
    console: Console,
) -> tuple[Measurement, ...]:
    """Extracts, compiles and times subnets together, in shuffled rounds."""
    space, latency = experiment.model.space(), experiment.latency
    inputs = some_inputs(experiment.data, latency.batch)
    networks = [experiment.model.extract(supernet, space.decode(g)) for g in genotypes]
    with progress(console, "compile", len(networks), "subnets") as update:
        programs = compile_all(
            networks,
            jnp.asarray(inputs),
            on_compiled=update,
            threads=os.cpu_count() or 1,
        )
    samples = measure(programs, rounds=latency.rounds, seed=experiment.seed)
    rows = zip(genotypes, roles, summary(samples), samples, strict=True)
    return tuple(
        Measurement(
            genotype=tuple(int(gene) for gene in genotype),
            role=role,
            latency_ms=float(took),
            samples_ms=tuple(np.round(timed, 4).tolist()),
        )
        for genotype, role, took, timed in rows
    )


def some_inputs(data: Dataset, batch: int) -> Inputs:
    """Returns random inputs of the data's shape; the data need not be there.

    Latency depends on shapes alone.
    """
    rng, shape = np.random.default_rng(0), (batch, *data.example)
    if np.issubdtype(data.dtype, np.floating):
        return rng.standard_normal(shape).astype(data.dtype)
    tokens = data.classes if isinstance(data.classes, int) else 1
    return rng.integers(tokens, size=shape).astype(data.dtype)
