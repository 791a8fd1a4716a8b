"""Elastic causal self-attention: multi-head and grouped-query, rotary positions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.extents import Extent, Fixed, resized, restrict


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["query", "key", "value", "output"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class AttentionWeights:
    """Full-size projections; query heads are grouped in order over key-value heads."""

    query: Float[Array, "features heads head_dim"]
    key: Float[Array, "features kv_heads head_dim"]
    value: Float[Array, "features kv_heads head_dim"]
    output: Float[Array, "heads head_dim features"]


def self_attention(
    x: Float[Array, "rows features"],
    weights: AttentionWeights,
    features: Extent,
    heads: Extent,
    *,
    tokens: int,
    rotary_base: float = 10_000.0,
) -> Float[Array, "rows features"]:
    """Attends causally with the active heads.

    Rows are ``batch * tokens`` flattened: XLA's matrix products on a CPU are about
    twice as fast on two-dimensional inputs. A subnet of ``h`` query heads uses the
    first ``h / group`` key-value heads, where ``group`` is query heads per key-value
    head, so every choice of heads must be a multiple of it.

    Args:
        x: Normalised activations on ``features``.
        weights: Full-size projections.
        features: Extent of the model width.
        heads: Extent of the query heads; size 0 skips the operation.
        tokens: Sequence length.
        rotary_base: Base of the rotary frequencies (Su 2021, section 3.2.2).
    """
    if isinstance(heads, Fixed) and heads.size == 0:
        return jnp.zeros_like(x)
    group = weights.query.shape[1] // weights.key.shape[1]
    kv_heads = resized(heads, lambda size: size // group)
    project = functools.partial(_project, x, features=features, tokens=tokens)
    cos, sin = rotary_angles(tokens, weights.query.shape[-1], rotary_base)
    query = rotate(project(weights.query, heads=heads), cos, sin)
    key = rotate(project(weights.key, heads=kv_heads), cos, sin)
    value = project(weights.value, heads=kv_heads)
    if group > 1:
        key, value = (jnp.repeat(part, group, axis=1) for part in (key, value))
    mixed = causal_attention(query, key, value)
    merged = mixed.transpose(0, 2, 1, 3).reshape(x.shape[0], -1)
    output = restrict(restrict(weights.output, heads, axis=0), features, axis=2)
    return merged @ output.reshape(merged.shape[-1], -1)


def _project(
    x: Float[Array, "rows features"],
    weight: Float[Array, "all_features all_heads head_dim"],
    *,
    features: Extent,
    heads: Extent,
    tokens: int,
) -> Float[Array, "batch heads tokens head_dim"]:
    active = restrict(restrict(weight, features, axis=0), heads, axis=1)
    count, head_dim = active.shape[1:]
    flat = x @ active.reshape(active.shape[0], -1)
    return flat.reshape(-1, tokens, count, head_dim).transpose(0, 2, 1, 3)


def rotary_angles(
    tokens: int, head_dim: int, base: float
) -> tuple[Float[Array, "tokens half"], Float[Array, "tokens half"]]:
    """Returns cosines and sines of the rotary angles (Su 2021, Eq. 15)."""
    exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
    positions = jnp.arange(tokens, dtype=jnp.float32)
    angles = positions[:, None] * (base**-exponents)[None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[Array, "*batch tokens head_dim"],
    cos: Float[Array, "tokens half"],
    sin: Float[Array, "tokens half"],
) -> Float[Array, "*batch tokens head_dim"]:
    """Rotates the two halves of each head by position (Su 2021, Eq. 34)."""
    first, second = jnp.split(x, 2, axis=-1)
    shape = (1,) * (x.ndim - 2) + cos.shape
    cos, sin = cos.reshape(shape), sin.reshape(shape)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1)


Heads = Float[Array, "batch heads tokens head_dim"]
Scores = Float[Array, "batch heads tokens tokens"]


@jax.custom_vjp
def causal_attention(query: Heads, key: Heads, value: Heads) -> Heads:
    """Returns softmax(q k^T / sqrt(d)) v over positions up to one's own.

    Has its own VJP, which keeps the probabilities: on a CPU it takes half the time of
    what autodiff makes of the same lines.
    """
    return _attend(query, key, value)[0]


def _attend(query: Heads, key: Heads, value: Heads) -> tuple[Heads, Scores]:
    tokens = query.shape[2]
    visible = jnp.tril(jnp.ones((tokens, tokens), bool))[None, None]
    scores = (query * query.shape[-1] ** -0.5) @ _transpose(key)
    lowest = jnp.finfo(scores.dtype).min
    probabilities = jax.nn.softmax(jnp.where(visible, scores, lowest), axis=-1)
    return probabilities @ value, probabilities


Residuals = tuple[Heads, Heads, Heads, Scores]


def _attend_forward(query: Heads, key: Heads, value: Heads) -> tuple[Heads, Residuals]:
    mixed, probabilities = _attend(query, key, value)
    return mixed, (query, key, value, probabilities)


def _attend_backward(saved: Residuals, grad: Heads) -> tuple[Heads, Heads, Heads]:
    query, key, value, probabilities = saved
    scale = query.shape[-1] ** -0.5
    # A transposed left operand is slow on CPUs: write a^T b as (b^T a)^T.
    value_grad = _transpose(_transpose(grad) @ probabilities)
    weighted = grad @ _transpose(value)
    inner = jnp.sum(weighted * probabilities, axis=-1, keepdims=True)
    score_grad = probabilities * (weighted - inner)
    query_grad = score_grad @ key * scale
    key_grad = _transpose(_transpose(query) @ score_grad) * scale
    return query_grad, key_grad, value_grad


causal_attention.defvjp(_attend_forward, _attend_backward)


def _transpose(x: Float[Array, "*batch m n"]) -> Float[Array, "*batch n m"]:
    return jnp.swapaxes(x, -1, -2)
