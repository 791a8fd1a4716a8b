"""Mixtures of subnets: one-hot is the subnet, and derivatives are of what is mixed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.extents import Fixed, Mixed
from kernels.feed_forward import FeedForwardWeights, feed_forward
from kernels.mixtures import mixture
from search.space import Choice, Space
from supernets.decoder.spec import Decoder
from supernets.depth import run_layers
from supernets.layers import ElasticFeedForward
from supernets.losses.entropy import cross_entropy
from supernets.lowering import (
    Scaled,
    at_layer,
    fixed_extents,
    indexed_extents,
    mixed_extents,
)
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.supernets.toy import (
    TOKENS,
    active_parts,
    decoder_arguments,
    one_hot_probabilities,
    poisoned,
    random_weights,
    random_windows,
    small_decoder,
    with_weights,
)
from tests.variants import mainly


def loss_of(spec, extents_of):
    """Compiles the loss, and its gradients by the weights and by what is selected."""

    def loss(weights, selected, windows):
        inputs, targets = windows
        logits = with_weights(spec, weights)(inputs, extents_of(selected))
        return cross_entropy(logits, targets)

    return loss


def mixed_loss(spec):
    return loss_of(spec, lambda selected: mixed_extents(spec.space(), selected))


@pytest.mark.parametrize("rule", mainly("prefix", "spaced", "free"))
@settings(max_examples=2)
@given(decoder_arguments(), st.integers(0, 99))
def test_a_one_hot_mixture_is_the_subnet_and_nothing_leaks(rule, arguments, seed):
    spec = Decoder(**arguments, depth_rule=rule)
    space, windows = spec.space(), random_windows(seed)
    weights = random_weights(spec, seed)
    mixed = quick_jit(jax.value_and_grad(mixed_loss(spec), (0, 1)))
    masked = quick_jit(
        jax.value_and_grad(loss_of(spec, lambda g: indexed_extents(space, g)))
    )
    for row, genotype in enumerate(space.sample(3, np.random.default_rng(seed))):
        selected = one_hot_probabilities(space, genotype)
        loss, (gradients, slopes) = mixed(weights, selected, windows)
        outcome = loss, gradients
        assert_close(outcome, masked(weights, jnp.asarray(genotype), windows))
        if row == 0:
            fixed = fixed_extents(space, genotype)
            sliced = quick_jit(jax.value_and_grad(loss_of(spec, lambda e: e)))
            assert_close(outcome, sliced(weights, fixed, windows))
        architecture = space.decode(genotype)
        for name, part in active_parts(spec, architecture).items():
            assert not np.any(gradients[name], where=~part), name
        assert all(np.isfinite(leaf).all() for leaf in slopes.values())

        bad = poisoned(spec, weights, architecture)
        found, (found_gradients, slopes) = mixed(bad, selected, windows)
        assert_equal((found, found_gradients), outcome)
        assert all(np.isfinite(leaf).all() for leaf in slopes.values())


@pytest.mark.slow
@pytest.mark.parametrize("rule", mainly("prefix", "spaced", "free"))
def test_slopes_of_probabilities_are_finite_differences(rule):
    spec = small_decoder(depth=(1, 2, 3), depth_rule=rule, norm="layer")
    space, windows = spec.space(), random_windows()
    weights = random_weights(spec)
    rng = np.random.default_rng(0)
    chosen = one_hot_probabilities(space, space.sample(1, rng)[0])
    soft = {
        name: jnp.asarray(rng.dirichlet(np.ones(row.shape[-1]), row.shape[:-1]), "f4")
        for name, row in chosen.items()
    }
    run = quick_jit(jax.value_and_grad(mixed_loss(spec), 1))
    for point, name in itertools.product((chosen, soft), chosen):
        slopes = run(weights, point, windows)[1]
        step = jnp.asarray(normal(point[name].shape, 0)) * 1e-2
        ends = [
            run(weights, point | {name: point[name] + side * step}, windows)[0]
            for side in (1, -1)
        ]
        expected = jnp.sum(slopes[name] * step) * 2
        np.testing.assert_allclose(ends[0] - ends[1], expected, rtol=0.02, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("probabilities", [(0.2, 0.5, 0.3), (0.0, 1.0, 0.0)])
def test_prefix_depth_averages_the_outputs_after_each_depth(probabilities):
    spec = small_decoder(depth=(1, 2, 4), depth_rule="prefix")
    space, p = spec.space(), jnp.asarray(probabilities)
    weights = random_weights(spec)
    x = jnp.asarray(normal((2 * TOKENS, 8), 0))
    sampled = space.sample(1, np.random.default_rng(0))[0]
    genotypes = [
        np.concatenate([[row], sampled[1:]]).astype(np.int32) for row in range(3)
    ]

    def run(weights, extents):
        return run_layers(with_weights(spec, weights).blocks, x, extents, tokens=TOKENS)

    def total(extents):
        return quick_jit(jax.value_and_grad(lambda w: jnp.sum(run(w, extents) ** 2)))

    fixed = [fixed_extents(space, genotype) for genotype in genotypes]
    outputs = jnp.stack([quick_jit(run)(weights, extents) for extents in fixed])
    mixed = {**fixed[-1], "depth": Mixed(p, (1, 2, 4))}
    found = quick_jit(run)(weights, mixed)
    assert_close(found, jnp.tensordot(p, outputs, 1))
    if 1.0 in probabilities:
        assert_equal(found, outputs[1])
        assert_close(total(mixed)(weights), total(fixed[1])(weights))


WIDTH, RATIO = Choice("width", (2, 4)), Choice("ratio", (1, 2, 3))
PAIRS = list(itertools.product(WIDTH.values, RATIO.values))
SPACE = Space((WIDTH, RATIO))
X = normal((3, 4), 9)


def network(use_gate):
    """How to run a network of hidden units as ratio times width, and its weights."""
    made = nnx.eval_shape(
        lambda: ElasticFeedForward(
            WIDTH, Scaled(WIDTH, RATIO), use_gate=use_gate, rngs=nnx.Rngs(0)
        )
    )
    graph, shapes = nnx.split(made)
    rows = itertools.count()

    def run(weights, extents):
        y = nnx.merge(graph, weights)(jnp.asarray(X), at_layer(extents, 0))
        return jnp.sum(y**2), y

    draw = jax.tree.map(
        lambda leaf: jnp.asarray(normal(leaf.shape, next(rows))), shapes
    )
    return run, draw


def superposed(leaf, p, q):
    """The padded slices of every pair of choices (TangleNAS, Algorithm 2)."""
    total = jnp.zeros_like(leaf)
    for (w, r), (p_i, q_j) in zip(PAIRS, itertools.product(p, q), strict=True):
        rows, columns = (w, w * r) if leaf.shape[0] == 4 else (w * r, w)
        total = total.at[:rows, :columns].add(p_i * q_j * leaf[:rows, :columns])
    return total


@pytest.mark.parametrize("use_gate", [False, True])
def test_a_ratio_of_a_mixed_width_is_the_superposition_of_every_pair(use_gate):
    run, weights = network(use_gate)
    largest = fixed_extents(SPACE, SPACE.largest)

    def expected(weights, p, q):
        return run(jax.tree.map(lambda leaf: superposed(leaf, p, q), weights), largest)

    def mixed(weights, p, q):
        return run(weights, mixed_extents(SPACE, {"width": p, "ratio": q}))

    def outcome(function):
        return quick_jit(jax.value_and_grad(function, (0, 1, 2), has_aux=True))

    given = weights, jnp.asarray([0.25, 0.75]), jnp.asarray([0.5, 0.3, 0.2])
    assert_close(outcome(mixed)(*given), outcome(expected)(*given))


def test_a_one_hot_ratio_of_a_width_is_the_subnet():
    run, weights = network(use_gate=True)
    compiled = quick_jit(jax.value_and_grad(run, has_aux=True))
    for genotype in ([1, 0], [1, 2]):
        genes = np.asarray(genotype, np.int32)
        hot = mixed_extents(SPACE, one_hot_probabilities(SPACE, genes))
        fixed = compiled(weights, fixed_extents(SPACE, genes))
        assert_close(compiled(weights, hot), fixed)
        assert_close(
            compiled(weights, indexed_extents(SPACE, jnp.asarray(genes))), fixed
        )


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_choices():
    def temporary_bytes(count):
        sizes = tuple(64 * row // count for row in range(1, count + 1))
        spec = small_decoder(width=sizes, ffn=sizes, heads=(2,))
        space = spec.space()
        uniform = {
            name: jnp.full(row.shape, 1 / row.shape[-1], row.dtype)
            for name, row in one_hot_probabilities(space, space.largest).items()
        }
        given = random_weights(spec), uniform, random_windows(batch=64)
        run = quick_jit(jax.grad(mixed_loss(spec), (0, 1)))
        return run.lower(*given).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(8) < 1.02 * temporary_bytes(2)


def test_memory_of_a_mixture_of_outputs_does_grow():
    """What a superposition of weights is compared with: each choice runs by itself."""
    features, rows = 16, 512

    def temporary_bytes(count):
        sizes = tuple(64 * row // count for row in range(1, count + 1))
        weights = FeedForwardWeights(
            normal((features, 64), 0), normal((64, features), 1)
        )
        x, shares = normal((rows, features), 2), normal((count,), 3)

        def total(weights, shares, x):
            outputs = [
                feed_forward(x, weights, Fixed(features), Fixed(size)) for size in sizes
            ]
            return jnp.sum(mixture(outputs, shares) ** 2)

        run = quick_jit(jax.grad(total, (0, 1)))
        compiled = run.lower(weights, shares, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(8) > 1.5 * temporary_bytes(2)


@pytest.mark.slow
def test_mixtures_map_over_a_population():
    spec = small_decoder(depth=(1, 2), depth_rule="prefix")
    space, windows = spec.space(), random_windows()
    weights = random_weights(spec)
    population = [
        one_hot_probabilities(space, genotype)
        for genotype in space.sample(4, np.random.default_rng(0))
    ]
    run = jax.value_and_grad(mixed_loss(spec), 1)
    expected = [quick_jit(run)(weights, member, windows) for member in population]
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *population)
    found = quick_jit(jax.vmap(run, (None, 0, None)))(weights, stacked, windows)
    assert_close(found, jax.tree.map(lambda *rows: jnp.stack(rows), *expected))
