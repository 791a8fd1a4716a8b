"""The vision supernet: its exits, its features, its noise and its initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.extents import Fixed
from supernets.lowering import fixed_extents, indexed_extents
from supernets.network import Supernet
from supernets.regularization import Noise
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.toy import (
    random_batch,
    random_weights,
    small_vision,
    unweighted,
    with_weights,
)
from tests.variants import mainly

each_pooling = pytest.mark.parametrize("pooling", mainly("token", "mean"))


def compiled(spec, run):
    """A function of a genotype, of the supernet with random weights and its extents."""
    weights, (images, _) = random_weights(spec), random_batch(spec)

    @quick_jit
    def call(genotype):
        extents = indexed_extents(spec.space(), genotype, "masked")
        return run(with_weights(spec, weights), images, extents)

    return call


@each_pooling
def test_an_exit_gives_what_the_subnet_of_that_depth_does(pooling):
    spec = small_vision(depth=(1, 3), pooling=pooling, heads=(0, 2))
    genotype = spec.space().sample(1, np.random.default_rng(0))[0]
    exits = compiled(spec, lambda net, *given: net.exits(*given))(genotype)
    outputs = compiled(spec, lambda net, *given: net.outputs(*given))
    for index, found in enumerate(exits):
        genotype[0] = index
        assert_close(found, outputs(genotype))
    assert np.abs(exits[0].logits - exits[1].logits).max() > 0.01


def test_there_are_no_exits_without_nested_depths():
    spec = small_vision(depth_rule="free")
    run = compiled(spec, lambda net, *given: net.exits(*given))
    with pytest.raises(ValueError, match=r"exits need an elastic depth .* 'free'"):
        run(spec.space().largest)


@each_pooling
def test_features_are_what_the_head_reads_and_zeros(pooling):
    spec = small_vision(pooling=pooling)
    assert isinstance(unweighted(spec), Supernet)
    weights, (images, _) = random_weights(spec), random_batch(spec)
    extents = fixed_extents(spec.space(), spec.space().largest)
    extents = {**extents, "width": Fixed(4)}

    @quick_jit
    def run(weights):
        net = with_weights(spec, weights)
        return net(images, extents), net.outputs(images, extents)

    logits, outputs = run(weights)
    assert_equal(outputs.logits, logits)
    assert_equal(outputs.active, np.asarray([1.0] * 4 + [0.0] * 4, np.float32))
    assert_equal(outputs.features[:, 4:], np.zeros((len(images), 4)))
    read = np.asarray(outputs.features) @ weights["head.kernel"]
    assert_close(read + weights["head.bias"], logits)


@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.5)])
def test_noise_of_a_key_changes_what_the_network_gives(rates):
    spec = small_vision(depth=(2,))
    weights, (images, _) = random_weights(spec), random_batch(spec)
    extents = fixed_extents(spec.space(), spec.space().largest)

    @quick_jit
    def run(key):
        net = with_weights(spec, weights)
        noise = Noise(key, *rates)
        return net.outputs(images, extents, noise=noise).logits, net(images, extents)

    (first, without), (again, _), (other, _) = (
        run(jax.random.key(seed)) for seed in (0, 0, 1)
    )
    assert_equal(first, again)
    assert np.abs(first - without).max() > 0.01
    assert np.abs(first - other).max() > 0.01


def test_without_a_token_patches_only_differ_by_their_positions():
    spec = small_vision(image=(4, 4, 1), depth=(2,))
    weights = random_weights(spec)
    extents = fixed_extents(spec.space(), spec.space().largest)
    images = random_batch(spec)[0]
    flipped = jnp.concatenate([images[:, 2:], images[:, :2]], axis=1)

    @quick_jit
    def run(weights, images):
        return with_weights(spec, weights)(images, extents)

    assert np.abs(run(weights, images) - run(weights, flipped)).max() > 0.01
    weights["positions.table"][:] = weights["positions.table"][:1]
    assert_close(run(weights, images), run(weights, flipped))


def test_the_key_decides_the_initial_weights():
    spec = small_vision(depth=(1,), pooling="token")

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
