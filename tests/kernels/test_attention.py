"""Attention: its own VJP, causality, rotary positions, grouped queries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.attention import AttentionWeights, self_attention
from kernels.causal import causal_attention
from kernels.extents import Fixed, Indexed
from kernels.rotary import rotary_angles, rotate
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

BATCH, HEADS, TOKENS, HEAD_DIM = 2, 3, 5, 4
FEATURES = 6
BASE = 100.0


def reference(query, key, value):
    """Attention as written in the paper, one position at a time."""
    rows = []
    for position in range(query.shape[2]):
        seen = slice(position + 1)
        products = query[:, :, position, None] * key[:, :, seen]
        scores = products.sum(-1) / np.sqrt(query.shape[-1])
        exponents = jnp.exp(scores - scores.max(-1, keepdims=True))
        weights = exponents / exponents.sum(-1, keepdims=True)
        rows.append((weights[..., None] * value[:, :, seen]).sum(2))
    return jnp.stack(rows, axis=2)


def value_and_gradients(attention):
    def total(parts, cotangent):
        output = attention(*parts)
        return jnp.sum(output * cotangent), output

    return quick_jit(jax.grad(total, has_aux=True))


own = value_and_gradients(causal_attention)
autodiff = value_and_gradients(reference)


def heads(seed, scale=1.0):
    return normal((BATCH, HEADS, TOKENS, HEAD_DIM), seed, scale)


@settings(max_examples=20)
@given(st.integers(0, 99), st.sampled_from([0.1, 1.0, 3.0]))
def test_attention_and_its_gradient_are_those_of_the_formula(seed, scale):
    parts = tuple(heads([seed, row], scale) for row in range(3))
    cotangent = heads([seed, 3])
    assert_close(own(parts, cotangent), autodiff(parts, cotangent))


def test_large_scores_do_not_overflow():
    parts = tuple(heads(row, 1e3) for row in range(3))
    gradients, output = own(parts, heads(3))
    assert all(np.isfinite(leaf).all() for leaf in (output, *gradients))


@pytest.mark.parametrize("last", range(TOKENS - 1))
def test_a_position_sees_nothing_after_itself(last):
    parts = [heads(row) for row in range(3)]
    changed = [part.copy() for part in parts]
    for part, row in zip(changed, range(3), strict=True):
        part[:, :, last + 1 :] = heads(row + 10)[:, :, last + 1 :]
    _, before = own(tuple(parts), heads(3))
    _, after = own(tuple(changed), heads(3))
    assert_equal(before[:, :, : last + 1], after[:, :, : last + 1])
    assert not np.array_equal(before[:, :, last + 1 :], after[:, :, last + 1 :])


@quick_jit
def rotated(x):
    return rotate(x, rotary_angles(*x.shape, BASE))


@pytest.mark.parametrize("head_dim", [2, 6])
def test_rotation_at_a_position_is_the_matrix_of_the_paper(head_dim):
    half = head_dim // 2
    x = normal((TOKENS, head_dim), 0)
    turned = rotated(x)
    for position in range(TOKENS):
        matrix = np.zeros((head_dim, head_dim))
        for pair in range(half):
            angle = position * BASE ** (-2 * pair / head_dim)
            rows = np.ix_([pair, pair + half], [pair, pair + half])
            c, s = np.cos(angle), np.sin(angle)
            matrix[rows] = [[c, -s], [s, c]]
        assert_close(turned[position], matrix @ x[position])


def test_scores_depend_on_the_difference_of_positions_only():
    tokens, head_dim = 12, 8
    query, key = normal((head_dim,), 0), normal((head_dim,), 1)
    turned = [np.asarray(rotated(np.tile(x, (tokens, 1)))) for x in (query, key)]
    scores = turned[0] @ turned[1].T
    for offset in range(1 - tokens, tokens):
        diagonal = np.diagonal(scores, offset)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=0, atol=1e-5)
    norms = np.linalg.norm(turned[0], axis=-1)
    np.testing.assert_allclose(norms, np.linalg.norm(query), rtol=1e-5)


def weights(kv_heads, seed=0):
    shared = (FEATURES, kv_heads, HEAD_DIM)
    shapes = (FEATURES, 4, HEAD_DIM), shared, shared, (4, HEAD_DIM, FEATURES)
    return AttentionWeights(
        *(jnp.asarray(normal(s, [seed, row])) for row, s in enumerate(shapes))
    )


@pytest.mark.parametrize(
    ("kv_heads", "active"), [(1, 4), (2, 2), (2, 4), (4, 1), (4, 4)]
)
def test_grouped_queries_are_heads_with_repeated_keys_and_values(kv_heads, active):
    group = 4 // kv_heads
    grouped = weights(kv_heads)
    repeated = AttentionWeights(
        grouped.query,
        jnp.repeat(grouped.key, group, axis=1),
        jnp.repeat(grouped.value, group, axis=1),
        grouped.output,
    )
    x = jnp.asarray(normal((BATCH * TOKENS, FEATURES), 1))
    choices = tuple(range(group, 5, group))
    extents = (
        Fixed(active),
        Indexed(jnp.asarray(choices.index(active)), choices),
    )
    run = quick_jit(
        lambda weights, extent: self_attention(
            x, weights, Fixed(FEATURES), extent, tokens=TOKENS
        )
    )
    for extent in extents:
        assert_close(run(grouped, extent), run(repeated, extent))


def test_sequences_do_not_see_each_other():
    x = jnp.asarray(normal((BATCH * TOKENS, FEATURES), 1))
    run = quick_jit(
        lambda x: self_attention(
            x, weights(2), Fixed(FEATURES), Fixed(4), tokens=TOKENS
        )
    )
    both = run(x)
    changed = run(x.at[TOKENS:].add(1.0))
    assert_equal(both[:TOKENS], changed[:TOKENS])
    assert not np.array_equal(both[TOKENS:], changed[TOKENS:])


def test_no_heads_give_zeros():
    x = jnp.ones((TOKENS, FEATURES))
    output = self_attention(x, weights(2), Fixed(FEATURES), Fixed(0), tokens=TOKENS)
    assert_equal(output, jnp.zeros_like(x))
