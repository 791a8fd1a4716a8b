"""The supernet: one program for all subnets, and nothing leaks into one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.extents import Indexed, Mixed
from supernets.losses.entropy import cross_entropy
from supernets.lowering import indexed_extents
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.toy import (
    poisoned,
    random_weights,
    random_windows,
    small_decoder,
    with_weights,
)
from tests.variants import mainly

SPECS = {
    "prefix": {"norm": "layer", "gated": False},
    "spaced": {"heads": (0, 2, 4), "group": 2, "ffn": (0, 6)},
    "free": {"norm": "layer", "depth": (1, 2)},
}


def masked(spec, extents_of=indexed_extents):
    def loss(weights, windows, genotype):
        extents = extents_of(spec.space(), genotype)
        inputs, targets = windows
        return cross_entropy(with_weights(spec, weights)(inputs, extents), targets)

    return quick_jit(jax.value_and_grad(loss))


@pytest.mark.parametrize("rule", mainly(*SPECS))
def test_what_is_inactive_leaks_neither_into_values_nor_gradients(rule):
    spec = small_decoder(depth_rule=rule, **SPECS[rule])
    space, weights = spec.space(), random_weights(spec)
    run, windows = masked(spec), random_windows()
    sampled = space.sample(4, np.random.default_rng(0))
    for genotype in (space.smallest, *sampled, space.largest):
        bad = poisoned(spec, weights, space.decode(genotype))
        outcome = run(bad, windows, jnp.asarray(genotype))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outcome))
        assert_equal(outcome, run(weights, windows, jnp.asarray(genotype)))


def one_hot_extents(space, genotype):
    def soften(extent):
        if not isinstance(extent, Indexed):
            return extent
        rows = jax.nn.one_hot(extent.index, len(extent.choices))
        return Mixed(rows, extent.choices)

    extents = indexed_extents(space, genotype)
    return {
        name: tuple(map(soften, e)) if isinstance(e, tuple) else soften(e)
        for name, e in extents.items()
    }


@pytest.mark.slow
def test_one_hot_mixtures_of_everything_are_the_subnet():
    spec = small_decoder(norm="layer")
    run, mixed = masked(spec), masked(spec, one_hot_extents)
    weights, windows = random_weights(spec), random_windows()
    for genotype in spec.space().sample(4, np.random.default_rng(0)):
        given = weights, windows, jnp.asarray(genotype)
        assert_close(mixed(*given), run(*given))


def test_a_population_is_mapped_over_by_one_program():
    spec = small_decoder(depth_rule="free")
    supernet, inputs = with_weights(spec, random_weights(spec)), random_windows()[0]
    genotypes = jnp.asarray(spec.space().sample(5, np.random.default_rng(0)))
    traces = []

    def run(genotype):
        traces.append(genotype)
        return supernet(inputs, indexed_extents(spec.space(), genotype))

    compiled = quick_jit(run)
    rows = np.stack([compiled(genotype) for genotype in genotypes])
    assert len(traces) == 1
    assert_close(quick_jit(jax.vmap(run))(genotypes), rows)
    assert len(traces) == 2
    assert len(np.unique(rows.reshape(5, -1).round(4), axis=0)) > 1


def test_the_key_decides_the_initial_weights():
    spec = small_decoder(depth=(1,), norm="layer")

    @quick_jit
    def build(key):
        return flat_weights(spec.build(rngs=nnx.Rngs(key)))

    first, again, other = (build(jax.random.key(seed)) for seed in (0, 0, 1))
    assert_equal(first, again)
    for name, weight in first.items():
        constant = {"scale": 1.0, "bias": 0.0}.get(name.rpartition(".")[2])
        if constant is None:
            assert not np.array_equal(weight, other[name])
            assert len(np.unique(weight)) > weight.size // 2
        else:
            assert_equal(weight, np.full(weight.shape, constant))
