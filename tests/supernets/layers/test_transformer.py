"""The elastic block: a skipped layer is the identity, whatever its weights are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.extents import Fixed, Indexed, Mixed
from search.space import Choice
from supernets.layers import ElasticBlock
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.supernets.toy import shapes
from tests.variants import mainly

TOKENS, WIDTH = 3, 4
HEADS, FFN = Choice("heads", (1, 2)), Choice("ffn", (2, 3))

GATES = {
    "fixed": lambda on: Fixed(on),
    "indexed": lambda on: Indexed(jnp.asarray(on), (0, 1)),
    "mixed": lambda on: Mixed(jax.nn.one_hot(on, 2), (0, 1)),
}
EXTENTS = {
    "fixed": {"heads": Fixed(1), "ffn": Fixed(2)},
    "indexed": {
        "heads": Indexed(jnp.asarray(0), (1, 2)),
        "ffn": Indexed(jnp.asarray(0), (2, 3)),
    },
}
X = normal((2 * TOKENS, WIDTH), 0)


def block(fill=None, norm="layer"):
    """Random weights, or the same number everywhere."""
    made = nnx.eval_shape(
        lambda: ElasticBlock(WIDTH, HEADS, FFN, head_dim=2, norm=norm, rngs=nnx.Rngs(0))
    )
    graph, state = nnx.split(made)
    rows = iter(range(len(shapes(made))))
    weights = jax.tree.map(
        lambda leaf: jnp.asarray(
            normal(leaf.shape, next(rows))
            if fill is None
            else np.full(leaf.shape, fill, np.float32)
        ),
        state,
    )
    return graph, weights


def run(graph, extents):
    def total(state, x):
        y = nnx.merge(graph, state)(x, extents, tokens=TOKENS)
        return jnp.sum(y**2), y

    return quick_jit(jax.grad(total, (0, 1), has_aux=True))


@pytest.mark.parametrize("norm", mainly("layer", "rms"))
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("kind", EXTENTS)
def test_a_skipped_layer_changes_nothing_even_if_it_is_not_a_number(norm, gate, kind):
    graph, weights = block(np.nan, norm)
    extents = EXTENTS[kind] | {"depth": GATES[gate](0)}
    (gradients, x_gradient), y = run(graph, extents)(weights, X)
    assert_equal(y, X)
    assert_equal(x_gradient, 2 * X)
    assert_equal(gradients, jax.tree.map(jnp.zeros_like, weights))


def test_all_gates_that_are_on_are_the_same():
    graph, weights = block()
    expected = run(graph, EXTENTS["fixed"] | {"depth": Fixed(1)})(weights, X)
    for gate in ("indexed", "mixed"):
        found = run(graph, EXTENTS["indexed"] | {"depth": GATES[gate](1)})(weights, X)
        assert_close(found, expected)


@pytest.mark.parametrize("kind", EXTENTS)
def test_a_soft_gate_averages_what_the_block_gives_and_what_it_is_given(kind):
    graph, weights = block()
    on = jnp.asarray(0.25)
    gate = Mixed(jnp.stack([1 - on, on]), (0, 1))
    (gradients, _), y = run(graph, EXTENTS[kind] | {"depth": gate})(weights, X)
    _, ungated = run(graph, EXTENTS["fixed"] | {"depth": Fixed(1)})(weights, X)
    assert_close(y, 0.75 * X + 0.25 * ungated)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients))


ZEROS = {
    "fixed": {"heads": Fixed(0), "ffn": Fixed(0)},
    "indexed": {
        "heads": Indexed(jnp.asarray(0), (0, 2)),
        "ffn": Indexed(jnp.asarray(0), (0, 3)),
    },
    "mixed": {
        "heads": Mixed(jnp.asarray([1.0, 0.0]), (0, 2)),
        "ffn": Mixed(jnp.asarray([1.0, 0.0]), (0, 3)),
    },
}
HALVES = {"heads": "attention", "ffn": "feed_forward"}


@pytest.mark.parametrize("norm", mainly("rms", "layer"))
@pytest.mark.parametrize("dropped", HALVES)
@pytest.mark.parametrize("kind", ZEROS)
def test_half_a_block_is_dropped_with_its_norm(norm, dropped, kind):
    graph, weights = block(norm=norm)
    extents = {"heads": Fixed(2), "ffn": Fixed(3), "depth": Fixed(1)}
    for name, layer in weights.items():
        if name.startswith(HALVES[dropped]):
            weights[name] = jax.tree.map(lambda leaf: leaf * jnp.nan, layer)
    given = {**extents, dropped: ZEROS[kind][dropped]}
    (gradients, x_gradient), y = run(graph, given)(weights, X)
    kept = HALVES[next(name for name in HALVES if name != dropped)]

    @quick_jit
    def alone(weights, x):
        layer = nnx.merge(graph, weights)
        seen = {**extents, "width": Fixed(WIDTH)}
        norm, half = getattr(layer, f"{kept}_norm"), getattr(layer, kept)
        options = {"tokens": TOKENS} if kept == "attention" else {}
        return x + half(norm(x, seen), seen, **options)

    assert_close(y, alone(weights, X))
    assert np.isfinite(x_gradient).all()
    for name, part in gradients.items():
        leaves = jax.tree.leaves(part)
        if name.startswith(HALVES[dropped]):
            assert_equal(leaves, [np.zeros_like(leaf) for leaf in leaves])
        else:
            assert all(np.any(leaf) for leaf in leaves)
