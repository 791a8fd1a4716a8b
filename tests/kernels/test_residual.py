"""The residual form of an operation: what it computes, and what a skipped one does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.attention import AttentionWeights, attention_call, self_attention
from kernels.dispatch import recorded, run
from kernels.extents import Fixed, Indexed, Mixed, gated
from kernels.feed_forward import FeedForward, FeedForwardWeights, feed_forward
from kernels.normalization import LayerNorm, RmsNorm, layer_norm, rms_norm
from kernels.operation import Call
from kernels.residual import residual
from kernels.switched import bodies
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

ROWS, TOKENS, FEATURES, UNITS, HEAD_DIM = 4, 2, 6, 4, 2
WIDTHS, SIZES = (3, FEATURES), (0, 2, UNITS)


def feed_forward_layer(weights, features, units):
    scale, inner = weights
    norm = Call(RmsNorm(), (features,), scale)
    return residual(norm, Call(FeedForward(), (features, units), inner))


def attention_layer(weights, features, heads):
    norm = Call(LayerNorm(), (features,), weights[0])
    inner = attention_call(weights[1], features, heads, tokens=TOKENS)
    return residual(norm, inner)


def feed_forward_formula(x, weights, features, units):
    scale, inner = weights
    return x + feed_forward(rms_norm(x, scale, features), inner, features, units)


def attention_formula(x, weights, features, heads):
    norm, inner = weights
    z = layer_norm(x, *norm, features)
    return x + self_attention(z, inner, features, heads, tokens=TOKENS)


def drawn(*shapes):
    return tuple(jnp.asarray(normal(s, row, 0.5)) for row, s in enumerate(shapes))


VECTOR = (FEATURES,)
INTO, OUT_OF = (FEATURES, UNITS, HEAD_DIM), (UNITS, HEAD_DIM, FEATURES)
UP, DOWN = (FEATURES, UNITS), (UNITS, FEATURES)

LAYERS = {
    "FeedForward": (
        feed_forward_layer,
        feed_forward_formula,
        (*drawn(VECTOR), FeedForwardWeights(*drawn(UP, DOWN, UP))),
    ),
    "SelfAttention": (
        attention_layer,
        attention_formula,
        (drawn(VECTOR, VECTOR), AttentionWeights(*drawn(*[INTO] * 3, OUT_OF))),
    ),
}

each_layer = pytest.mark.parametrize("name", LAYERS)
each_way = pytest.mark.parametrize("way", ["fixed", "masked", "switched"])


def extent_of(size, choices, way):
    if way == "fixed":
        return Fixed(size)
    if way == "mixed":
        return Mixed(jax.nn.one_hot(choices.index(size), len(choices)), choices)
    return Indexed(jnp.asarray(choices.index(size)), choices, way)


def stream(width=FEATURES):
    """What is read, and a gradient of what is given; zero beyond the width."""
    parts = (jnp.asarray(normal((ROWS, FEATURES), seed)) for seed in (10, 11))
    return tuple(part.at[:, width:].set(0.0) for part in parts)


def gradients(function, x, weights, cotangent):
    """The output, and the gradients of x and of the weights."""

    @quick_jit
    def step(x, weights):
        output, pull = jax.vjp(function, x, weights)
        return output, *pull(cotangent.astype(output.dtype))

    return step(x, weights)


def layer_of(name, features, size):
    """The layer as a function of its input and weights."""
    make, _, _ = LAYERS[name]
    return lambda x, weights: run(make(weights, features, size), x)


@each_layer
@each_way
def test_a_layer_adds_what_it_makes_of_its_normalised_input(name, way):
    _, formula, weights = LAYERS[name]
    x, cotangent = stream(WIDTHS[0])
    if way == "fixed":
        x, cotangent = x[:, : WIDTHS[0]], cotangent[:, : WIDTHS[0]]
    extents = extent_of(WIDTHS[0], WIDTHS, way), extent_of(2, SIZES, way)
    found = gradients(layer_of(name, *extents), x, weights, cotangent)
    expected = gradients(lambda x, w: formula(x, w, *extents), x, weights, cotangent)
    # Only what made the stream can tell that it is inactive: not this gradient.
    found, expected = (
        (output, x_grad[:, : WIDTHS[0]], shared)
        for output, x_grad, shared in (found, expected)
    )
    assert_close(found, expected)


@each_layer
@pytest.mark.parametrize("way", ["fixed", "masked", "switched", "mixed"])
def test_a_skipped_layer_hands_its_input_on_whatever_its_weights(name, way):
    weights = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), LAYERS[name][2])
    x, cotangent = stream()
    extents = extent_of(FEATURES, WIDTHS, way), extent_of(0, SIZES, way)
    found = gradients(layer_of(name, *extents), x, weights, cotangent)
    assert_equal(found, (x, cotangent, jax.tree.map(jnp.zeros_like, weights)))


@pytest.mark.slow
@each_layer
def test_a_gate_skips_a_layer_for_a_part_of_the_subnets(name):
    weights = LAYERS[name][2]
    x, _ = stream()
    index, runs = (jnp.asarray([1, 2, 1]), jnp.asarray([1, 0, 0]))

    @quick_jit
    @jax.vmap
    def both(index, runs):
        gate = Indexed(runs, (0, 1), "switched")
        size = gated(Indexed(index, SIZES[1:], "switched"), gate)
        return layer_of(name, Fixed(FEATURES), size)(x, weights)

    ran, *skipped = both(index - 1, runs)
    assert_close(ran, layer_of(name, Fixed(FEATURES), Fixed(SIZES[1]))(x, weights))
    assert not np.array_equal(ran, x)
    for output in skipped:
        assert_equal(output, x)


@each_layer
def test_features_are_decided_once_for_the_norm_and_what_follows(name):
    make, _, weights = LAYERS[name]
    extents = (Indexed(jnp.asarray(0), c) for c in (WIDTHS, SIZES))
    call = make(weights, *extents)
    assert len(bodies(call.extents)) == len(WIDTHS) * (len(SIZES) - 1) + 1


@each_layer
def test_a_layer_is_told_by_the_name_of_what_it_adds(name):
    weights = LAYERS[name][2]
    extent = Indexed(jnp.asarray(1), SIZES, "switched")
    with recorded() as made:
        jax.eval_shape(
            lambda: layer_of(name, Fixed(FEATURES), extent)(stream()[0], weights)
        )
    assert [(d.operation, d.execution) for d in made] == [(name, "switched")]


@each_layer
@each_way
def test_a_layer_computes_in_the_type_of_the_stream(name, way):
    weights = LAYERS[name][2]
    x, cotangent = stream()
    extents = extent_of(FEATURES, WIDTHS, way), extent_of(2, SIZES, way)
    x = x.astype(jnp.bfloat16)
    layer = layer_of(name, *extents)
    output, x_grad, shared = gradients(layer, x, weights, cotangent)
    assert output.dtype == x_grad.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shared))


@each_layer
def test_the_normalised_input_is_not_kept(name):
    weights, (x, _) = LAYERS[name][2], stream()
    extents = Fixed(FEATURES), Indexed(jnp.asarray(1), SIZES, "switched")

    def kept(function):
        _, pull = jax.vjp(function, x, weights)
        return sum(leaf.nbytes for leaf in jax.tree.leaves(pull))

    def inner(x, weights):
        call = LAYERS[name][0](weights, *extents)
        return run(Call(call.operation.inner, call.extents, call.weights[1]), x)

    norm = sum(leaf.nbytes for leaf in jax.tree.leaves(weights[0]))
    assert kept(layer_of(name, *extents)) == kept(inner) + norm
