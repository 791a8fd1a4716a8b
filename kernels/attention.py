"""Elastic causal self-attention: multi-head and grouped-query, rotary positions."""

import dataclasses
import math
from typing import NamedTuple

from jaxtyping import Array, Float
from typing_extensions import override

from kernels import dispatch, tiles
from kernels.causal import (
    Heads,
    Scores,
    SharedHeads,
    attend,
    attend_backward,
    causal_attention,
)
from kernels.extents import Extent, resized, restrict_axes
from kernels.operation import Call, Extents, Operation, Sizes, active, prefix, static
from kernels.rotary import rotary_angles, rotate


class AttentionWeights(NamedTuple):
    """Full-size projections; query heads are grouped in order over key-value heads."""

    query: Float[Array, "features heads head_dim"]
    key: Float[Array, "features kv_heads head_dim"]
    value: Float[Array, "features kv_heads head_dim"]
    output: Float[Array, "heads head_dim features"]

    @property
    def group(self) -> int:
        """Query heads per key-value head."""
        return self.query.shape[1] // self.key.shape[1]


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
    call = attention_call(
        weights, features, heads, tokens=tokens, rotary_base=rotary_base
    )
    return dispatch.run(call, x)


def attention_call(
    weights: AttentionWeights,
    features: Extent,
    heads: Extent,
    *,
    tokens: int,
    rotary_base: float = 10_000.0,
) -> Call:
    """Returns `self_attention` without its input."""
    operation = SelfAttention(tokens, weights.group, rotary_base)
    return Call(operation, (features, heads), weights)


Saved = tuple[Heads, SharedHeads, SharedHeads, Scores, Float[Array, "rows merged"]]


@dataclasses.dataclass(frozen=True)
class SelfAttention(Operation):
    """See `self_attention`. Its extents are those of the features and the heads."""

    tokens: int
    group: int
    rotary_base: float

    @override
    def masked(self, extents: Extents, x: Array, weights: AttentionWeights) -> Array:
        features, heads = extents
        kv_heads = resized(heads, lambda size: size // self.group)

        def into(weight: Array, heads: Extent) -> Array:
            return restrict_axes(weight, {0: features, 1: heads})

        masked = AttentionWeights(
            into(weights.query, heads),
            into(weights.key, kv_heads),
            into(weights.value, kv_heads),
            restrict_axes(weights.output, {0: heads, 2: features}),
        )
        return static(self, masked.query.shape[:2], x, masked)

    @override
    def forward(
        self, sizes: Sizes, x: Array, weights: AttentionWeights
    ) -> tuple[Array, Saved]:
        z, cut = self._active(sizes, x, weights)
        angles = rotary_angles(self.tokens, cut.query.shape[-1], self.rotary_base)
        query = rotate(self._split(z @ _flat(cut.query), cut.query), angles)
        key = rotate(self._split(z @ _flat(cut.key), cut.key), angles)
        value = self._split(z @ _flat(cut.value), cut.value)
        mixed, probabilities = attend(query, key, value)
        merged = _merge(mixed)
        y = merged @ cut.output.reshape(merged.shape[1], sizes[0])
        return y, (query, key, value, probabilities, merged)

    @override
    def backward(
        self,
        sizes: Sizes,
        x: Array,
        weights: AttentionWeights,
        saved: Saved,
        gradient: Array,
    ) -> tuple[Array, AttentionWeights]:
        z, cut = self._active(sizes, x, weights)
        query, key, value, probabilities, merged = saved
        y_grad = prefix(gradient, None, sizes[0])
        merged_grad = y_grad @ cut.output.reshape(merged.shape[1], sizes[0]).T
        mixed = self._split(merged, cut.query)
        query_grad, key_grad, value_grad = attend_backward(
            (query, key, value, probabilities, mixed),
            self._split(merged_grad, cut.query),
        )
        back = rotary_angles(self.tokens, cut.query.shape[-1], self.rotary_base).back
        query_grad = _merge(rotate(query_grad, back))
        key_grad = _merge(rotate(key_grad, back))
        value_grad = _merge(value_grad)
        x_grad = query_grad @ _flat(cut.query).T
        x_grad = x_grad + key_grad @ _flat(cut.key).T + value_grad @ _flat(cut.value).T
        return x_grad, AttentionWeights(
            (z.T @ query_grad).reshape(cut.query.shape),
            (z.T @ key_grad).reshape(cut.key.shape),
            (z.T @ value_grad).reshape(cut.value.shape),
            (merged.T @ y_grad).reshape(cut.output.shape),
        )

    @override
    def tiled(self, extents: Extents, x: Array, weights: AttentionWeights) -> Array:
        """Skips tiles of the projections; the scores of inactive heads are computed."""
        features, heads = extents
        head_dim = weights.query.shape[2]
        width = resized(heads, lambda count: count * head_dim)
        kv_width = resized(width, lambda size: size // self.group)
        angles = rotary_angles(self.tokens, head_dim, self.rotary_base)

        def project(weight: Array, outputs: Extent) -> Array:
            flat = tiles.product(x, _flat(weight), features, outputs)
            batch = x.shape[0] // self.tokens
            count = flat.shape[1] // head_dim
            return flat.reshape(batch, self.tokens, count, head_dim).swapaxes(1, 2)

        query = rotate(project(weights.query, width), angles)
        key = rotate(project(weights.key, kv_width), angles)
        mixed = causal_attention(query, key, project(weights.value, kv_width))
        rows = math.prod(weights.output.shape[:2])
        output = weights.output.reshape(rows, weights.output.shape[2])
        return tiles.product(_merge(mixed), output, width, features)

    @override
    def refuses_tiles(self, x: Array, weights: AttentionWeights) -> str | None:
        return tiles.refusal(x, *_flat(weights.query).shape)

    @override
    def work(self, sizes: Sizes, x: Array, weights: AttentionWeights) -> int:
        features, heads = sizes
        return x.shape[0] * heads * (2 * features + 2 * self.tokens)

    def _active(
        self, sizes: Sizes, x: Array, weights: AttentionWeights
    ) -> tuple[Array, AttentionWeights]:
        features, heads = sizes
        kv_heads = heads // self.group
        cut = AttentionWeights(
            active(weights.query, x, features, heads, None),
            active(weights.key, x, features, kv_heads, None),
            active(weights.value, x, features, kv_heads, None),
            active(weights.output, x, heads, None, features),
        )
        return prefix(x, None, features), cut

    def _split(
        self, x: Float[Array, "rows merged"], like: Float[Array, "a heads head_dim"]
    ) -> Float[Array, "batch heads tokens head_dim"]:
        batch = x.shape[0] // self.tokens
        return x.reshape(batch, self.tokens, *like.shape[1:]).transpose(0, 2, 1, 3)


def _flat(
    weight: Float[Array, "features heads head_dim"],
) -> Float[Array, "features merged"]:
    features, heads, head_dim = weight.shape
    return weight.reshape(features, heads * head_dim)


def _merge(
    x: Float[Array, "batch heads tokens head_dim"],
) -> Float[Array, "rows merged"]:
    batch, heads, tokens, head_dim = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch * tokens, heads * head_dim)
