"""Attention on whole heads: its formula, its own VJP, and shared heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.dot_product import dot_product_attention
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

BATCH, HEADS, TOKENS, HEAD_DIM = 2, 6, 5, 4


def reference(query, key, value, *, causal):
    """Attention as written in the paper, one position at a time."""
    rows = []
    for position in range(query.shape[2]):
        seen = slice(position + 1 if causal else None)
        products = query[:, :, position, None] * key[:, :, seen]
        scores = products.sum(-1) / np.sqrt(query.shape[-1])
        exponents = jnp.exp(scores - scores.max(-1, keepdims=True))
        weights = exponents / exponents.sum(-1, keepdims=True)
        rows.append((weights[..., None] * value[:, :, seen]).sum(2))
    return jnp.stack(rows, axis=2)


def repeated(query, key, value, *, causal):
    """The same, for each query head with its own copy of the shared heads."""
    group = query.shape[1] // key.shape[1]
    copies = (jnp.repeat(part, group, axis=1) for part in (key, value))
    return reference(query, *copies, causal=causal)


@functools.partial(quick_jit, static_argnames="causal")
def own(parts, cotangent, *, causal=True):
    return _gradients(lambda *p: dot_product_attention(*p, causal), parts, cotangent)


@functools.partial(quick_jit, static_argnames="causal")
def autodiff(parts, cotangent, *, causal):
    return _gradients(functools.partial(repeated, causal=causal), parts, cotangent)


def _gradients(attention, parts, cotangent):
    def total(parts):
        output = attention(*parts)
        return jnp.sum(output * cotangent), output

    return jax.grad(total, has_aux=True)(parts)


def heads(seed, scale=1.0, *, count=HEADS):
    return normal((BATCH, count, TOKENS, HEAD_DIM), seed, scale)


def parts_of(seed, scale=1.0, *, kv_heads=HEADS):
    counts = HEADS, kv_heads, kv_heads
    return tuple(heads([seed, i], scale, count=n) for i, n in enumerate(counts))


@settings(max_examples=20)
@given(
    st.integers(0, 99),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.sampled_from([(1, True), (3, True), (HEADS, True), (2, False), (HEADS, False)]),
)
def test_attention_and_its_gradient_are_those_of_the_formula(seed, scale, kind):
    kv_heads, causal = kind
    parts = parts_of(seed, scale, kv_heads=kv_heads)
    cotangent = heads([seed, 3])
    found = own(parts, cotangent, causal=causal)
    assert_close(found, autodiff(parts, cotangent, causal=causal))


def test_query_heads_share_key_value_heads_in_order():
    parts, group = parts_of(0, kv_heads=2), HEADS // 2
    _, output = own(parts, heads(3))
    for head in range(HEADS):
        each, shared = [head], [head // group]
        query, *key_value = parts
        alone = query[:, each], *(part[:, shared] for part in key_value)
        assert_close(output[:, head], own(alone, heads(3, count=1))[1][:, 0])


def test_no_heads_attend_to_nothing():
    empty = tuple(jnp.asarray(heads(0, count=0)) for _ in range(3))
    gradients, output = own(empty, empty[0])
    assert output.shape == empty[0].shape
    assert [part.shape for part in gradients] == [part.shape for part in empty]


@pytest.mark.parametrize("kv_heads", [2, HEADS])
def test_large_scores_do_not_overflow(kv_heads):
    gradients, output = own(parts_of(0, 1e3, kv_heads=kv_heads), heads(3))
    assert all(np.isfinite(leaf).all() for leaf in (output, *gradients))


@pytest.mark.parametrize("last", range(TOKENS - 1))
def test_a_position_sees_nothing_after_itself(last):
    parts = parts_of(0, kv_heads=2)
    later = parts_of(1, kv_heads=2)
    changed = [part.copy() for part in parts]
    for part, other in zip(changed, later, strict=True):
        part[:, :, last + 1 :] = other[:, :, last + 1 :]
    _, before = own(parts, heads(3))
    _, after = own(tuple(changed), heads(3))
    assert_equal(before[:, :, : last + 1], after[:, :, : last + 1])
    assert not np.array_equal(before[:, :, last + 1 :], after[:, :, last + 1 :])


def test_without_causality_the_order_of_positions_does_not_matter():
    parts, order = parts_of(0, kv_heads=2), np.asarray([3, 0, 4, 1, 2])
    _, output = own(parts, heads(3), causal=False)
    moved = tuple(part[:, :, order] for part in parts)
    _, moved_output = own(moved, heads(3), causal=False)
    assert_close(moved_output, output[:, :, order])
