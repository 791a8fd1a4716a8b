"""Evaluation of populations by one program."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from supernets.decoder.extraction import extract
from supernets.evaluation import make_evaluate
from supernets.losses import cross_entropy
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

SPEC = small_decoder(depth_rule="free")
SPACE = SPEC.space()
WINDOWS = tuple(np.asarray(part) for part in random_windows(batch=3))


@pytest.fixture(scope="module", params=["masked", "switched"])
def evaluate(request):
    """Losses of a population under random weights of a seed."""
    score = make_evaluate(unweighted(SPEC), SPACE, execution=request.param)

    def run(genotypes, seed=0):
        supernet = with_weights(SPEC, random_weights(SPEC, seed))
        return score(nnx.state(supernet, nnx.Param), genotypes, *WINDOWS)

    return run


def population(seed, size=6):
    return SPACE.sample(size, np.random.default_rng(seed))


def test_losses_are_those_of_the_extracted_networks_in_bits(evaluate):
    genotypes = population(0)
    losses = evaluate(genotypes)
    assert losses.dtype == np.float64
    supernet = with_weights(SPEC, random_weights(SPEC))
    inputs, targets = WINDOWS
    for genotype, loss in list(zip(genotypes, losses, strict=True))[:3]:
        network = extract(supernet, SPEC, SPACE.decode(genotype))
        graph, state = nnx.split(network)
        run = quick_jit(lambda s, x, graph=graph: nnx.merge(graph, s)(x))
        nats = cross_entropy(run(state, inputs), jnp.asarray(targets))
        assert_close(loss, float(nats) / math.log(2.0))


def test_few_programs_evaluate_a_search_of_500_subnets(compilations):
    state = nnx.state(with_weights(SPEC, random_weights(SPEC)), nnx.Param)
    genotypes = SPACE.sample(500, np.random.default_rng(0))
    for execution in ("masked", "switched"):
        score = make_evaluate(unweighted(SPEC), SPACE, execution=execution)
        compilations.clear()
        found = [score(state, g, *WINDOWS) for g in np.split(genotypes, 50)]
        # Masked: one, and two that tell how many subnets fit side by side.
        assert len(compilations) <= (4 if execution == "masked" else 2)
        assert len(np.unique(found)) > 20


def test_a_loss_does_not_depend_on_the_place_in_the_population(evaluate):
    genotypes = population(0)
    losses = evaluate(genotypes)
    order = np.random.default_rng(0).permutation(len(genotypes))
    assert_equal(evaluate(genotypes[order]), losses[order])
    for row in range(len(genotypes)):
        alike = np.repeat(genotypes[row : row + 1], len(genotypes), axis=0)
        assert_equal(evaluate(alike), np.full(len(genotypes), losses[row]))


def test_genes_of_layers_that_do_not_run_change_no_loss(evaluate):
    genotypes = population(1)
    rng = np.random.default_rng(1)
    noise = rng.integers(0, SPACE.cardinalities[None], genotypes.shape)
    noisy = np.where(SPACE.active_genes(genotypes), genotypes, noise).astype(np.int32)
    assert (noisy != genotypes).any()
    assert_equal(evaluate(noisy), evaluate(genotypes))


def test_masked_subnets_run_side_by_side_as_memory_allows():
    state = nnx.state(with_weights(SPEC, random_weights(SPEC)), nnx.Param)
    genotypes = population(0, 8)
    losses = []
    for budget in (0, 10**9):
        score = make_evaluate(
            unweighted(SPEC), SPACE, execution="masked", budget=budget
        )
        losses.append(score(state, genotypes, *WINDOWS))
    assert_close(losses[0], losses[1])
