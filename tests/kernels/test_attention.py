"""Self-attention: grouped queries, sequences, positions, and no heads."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from kernels.attention import AttentionWeights, self_attention
from kernels.extents import Fixed, Indexed
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

BATCH, TOKENS, HEAD_DIM = 2, 5, 4
FEATURES = 6


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
    assert_equal(attended(x, tokens=TOKENS, heads=0), jnp.zeros_like(x))


@functools.partial(quick_jit, static_argnames=("tokens", "heads", "causal", "base"))
def attended(x, *, tokens, heads=4, causal=True, base=10.0):
    call = {"tokens": tokens, "causal": causal, "rotary_base": base}
    return self_attention(x, weights(2), Fixed(FEATURES), Fixed(heads), **call)


@pytest.mark.parametrize("base", [None, 10.0])
def test_order_matters_to_rotary_positions_and_not_to_attention(base):
    x, order = normal((TOKENS, FEATURES), 1), np.asarray([3, 0, 4, 1, 2])
    kind = {"tokens": TOKENS, "causal": False, "base": base}
    moved, expected = attended(x[order], **kind), attended(x, **kind)[order]
    if base is None:
        assert_close(moved, expected)
    else:
        assert np.abs(moved - expected).max() > 0.01


@pytest.mark.parametrize("base", [None, 10.0])
def test_a_causal_position_sees_what_a_sequence_cut_after_it_does(base):
    x = normal((TOKENS, FEATURES), 1)
    whole, cut = (attended(x[:count], tokens=count, base=base) for count in (TOKENS, 3))
    assert_close(whole[:3], cut)
