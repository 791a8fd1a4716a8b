"""Scaled dot-product attention on whole heads, with its own gradient.

Query heads that share a key-value head are laid end to end as rows of one product, so
shared keys and values are neither repeated nor their gradients summed afterwards.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.operation import widened

Heads = Float[Array, "batch heads tokens head_dim"]
SharedHeads = Float[Array, "batch kv_heads tokens head_dim"]
Scores = Float[Array, "batch heads tokens keys"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def dot_product_attention(
    query: Heads, key: SharedHeads, value: SharedHeads, causal: bool
) -> Heads:
    """Returns softmax(q k^T / sqrt(d)) v (Vaswani 2017, Eq. 1).

    Query heads are grouped in order over key-value heads. Has its own VJP, which keeps
    the probabilities: on a CPU it takes half the time of what autodiff makes of the
    same lines.

    Args:
        query: Of every head.
        key: Of every key-value head.
        value: Of every key-value head.
        causal: Whether a position sees only those up to its own, or all.
    """
    return attend(query, key, value, causal=causal)[0]


def attend(
    query: Heads, key: SharedHeads, value: SharedHeads, *, causal: bool
) -> tuple[Heads, Scores]:
    """Returns the mixed values and the probabilities they were mixed with.

    Probabilities are computed in at least float32, whatever the type of the heads.
    """
    tokens = query.shape[2]
    scores = _grouped(query * query.shape[-1] ** -0.5, key) @ _transpose(key)
    scores = scores.reshape(*query.shape[:3], tokens)
    if causal:
        visible = jnp.tril(jnp.ones((tokens, tokens), bool))[None, None]
        scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
    probabilities = jax.nn.softmax(widened(scores), axis=-1).astype(scores.dtype)
    mixed = _grouped(probabilities, key) @ value
    return mixed.reshape(query.shape), probabilities


Residuals = tuple[Heads, SharedHeads, SharedHeads, Scores, Heads]
"""Query, key, value, probabilities and the mixed values."""


def attend_backward(
    saved: Residuals, gradient: Heads
) -> tuple[Heads, SharedHeads, SharedHeads]:
    """Returns the gradients of query, key and value."""
    query, key, value, probabilities, mixed = saved
    scale = query.shape[-1] ** -0.5
    # Row sums of weights * probabilities, over head_dim entries instead of tokens.
    inner = jnp.sum(gradient * mixed, axis=-1, keepdims=True)
    grouped = _grouped(gradient, key)
    weighted = (grouped @ _transpose(value)).reshape(probabilities.shape)
    score_grad = _grouped(probabilities * (weighted - inner), key)
    # A transposed left operand is slow on CPUs: write a^T b as (b^T a)^T.
    value_grad = _transpose(_transpose(grouped) @ _grouped(probabilities, key))
    key_grad = _transpose(_transpose(_grouped(query, key)) @ score_grad) * scale
    query_grad = (score_grad @ key).reshape(query.shape) * scale
    return query_grad, key_grad, value_grad


def _forward(
    query: Heads, key: SharedHeads, value: SharedHeads, causal: bool
) -> tuple[Heads, Residuals]:
    mixed, probabilities = attend(query, key, value, causal=causal)
    return mixed, (query, key, value, probabilities, mixed)


def _backward(
    causal: bool,  # noqa: ARG001 - what is not visible has probability 0
    saved: Residuals,
    gradient: Heads,
) -> tuple[Heads, SharedHeads, SharedHeads]:
    return attend_backward(saved, gradient)


dot_product_attention.defvjp(_forward, _backward)


def _grouped(
    x: Float[Array, "batch heads tokens any"], key: SharedHeads
) -> Float[Array, "batch kv_heads group_tokens any"]:
    batch, heads, tokens, size = x.shape
    shared = key.shape[1]
    return x.reshape(batch, shared, heads // max(shared, 1) * tokens, size)


def _transpose(x: Float[Array, "*batch m n"]) -> Float[Array, "*batch n m"]:
    return jnp.swapaxes(x, -1, -2)
