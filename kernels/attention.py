"""Elastic self-attention: causal or not, grouped queries, rotary positions or none."""

import dataclasses
import math
from typing import NamedTuple

import jax
from jaxtyping import Array, Float
from typing_extensions import override

from kernels import dispatch, parallel, tiles
from kernels.dot_product import (
    Heads,
    Scores,
    SharedHeads,
    attend,
    attend_backward,
    dot_product_attention,
)
from kernels.extents import Extent, Fixed, resized, restrict_axes
from kernels.operation import Call, Extents, Operation, Sizes, active, prefix, static
from kernels.quantization.roundings import (
    Rounding,
    refusal,
    rounded_by,
    while_running,
)
from kernels.rotary import RotaryAngles, rotary_angles, rotate


class AttentionWeights(NamedTuple):
    """Full-size projections; query heads are grouped in order over key-value heads.

    What they multiply may be rounded: ``inputs`` are what query, key and value read,
    ``mixed`` is what the output projection does.
    """

    query: Float[Array, "features heads head_dim"]
    key: Float[Array, "features kv_heads head_dim"]
    value: Float[Array, "features kv_heads head_dim"]
    output: Float[Array, "heads head_dim features"]
    inputs: Rounding | None = None
    mixed: Rounding | None = None

    @property
    def group(self) -> int:
        """Query heads per key-value head."""
        return self.query.shape[1] // self.key.shape[1]


HEAD_AXES = {"query": 1, "key": 1, "value": 1, "output": 0}
"""The axis of each weight that holds the heads, or the key-value heads."""


def self_attention(
    x: Float[Array, "rows features"],
    weights: AttentionWeights,
    features: Extent,
    heads: Extent,
    *,
    tokens: int,
    causal: bool = True,
    rotary_base: float | None = 10_000.0,
) -> Float[Array, "rows features"]:
    """Attends within sequences with the active heads.

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
        causal: Whether a position sees only those up to its own, or all.
        rotary_base: Base of the rotary frequencies (Su 2021, section 3.2.2), or none to
            leave positions to what was added to ``x``.
    """
    call = attention_call(
        weights,
        features,
        heads,
        tokens=tokens,
        causal=causal,
        rotary_base=rotary_base,
    )
    return dispatch.run(call, x)


def attention_call(
    weights: AttentionWeights,
    features: Extent,
    heads: Extent,
    *,
    tokens: int,
    causal: bool = True,
    rotary_base: float | None = 10_000.0,
) -> Call:
    """Returns `self_attention` without its input."""
    operation = SelfAttention(tokens, weights.group, causal, rotary_base)
    return Call(operation, (features, heads), weights)


Saved = tuple[Heads, SharedHeads, SharedHeads, Scores, Float[Array, "rows merged"]]


@dataclasses.dataclass(frozen=True)
class SelfAttention(Operation):
    """See `self_attention`. Its extents are those of the features and the heads."""

    tokens: int
    group: int
    causal: bool
    rotary_base: float | None

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
            while_running(weights.inputs, extents),
            while_running(weights.mixed, extents),
        )
        return static(self, masked.query.shape[:2], x, masked)

    @override
    def forward(
        self, sizes: Sizes, x: Array, weights: AttentionWeights
    ) -> tuple[Array, Saved]:
        z, cut = self._active(sizes, x, weights)
        z = rounded_by(z, cut.inputs)
        angles = self._angles(weights)
        query = _rotated(self._split(z @ _flat(cut.query), cut.query), angles)
        key = _rotated(self._split(z @ _flat(cut.key), cut.key), angles)
        value = self._split(z @ _flat(cut.value), cut.value)
        mixed, probabilities = attend(query, key, value, causal=self.causal)
        merged = _merge(mixed)
        output = cut.output.reshape(merged.shape[1], sizes[0])
        y = rounded_by(merged, cut.mixed) @ output
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
        x, cut = self._active(sizes, x, weights)
        z, pull_inputs = jax.vjp(rounded_by, x, cut.inputs)
        query, key, value, probabilities, merged = saved
        read, pull_mixed = jax.vjp(rounded_by, merged, cut.mixed)
        y_grad = prefix(gradient, None, sizes[0])
        output = cut.output.reshape(merged.shape[1], sizes[0])
        merged_grad, mixed_grad = pull_mixed(y_grad @ output.T)
        mixed = self._split(merged, cut.query)
        query_grad, key_grad, value_grad = attend_backward(
            (query, key, value, probabilities, mixed),
            self._split(merged_grad, cut.query),
        )
        angles = self._angles(weights)
        back = None if angles is None else angles.back
        query_grad = _merge(_rotated(query_grad, back))
        key_grad = _merge(_rotated(key_grad, back))
        value_grad = _merge(value_grad)
        x_grad = query_grad @ _flat(cut.query).T
        x_grad = x_grad + key_grad @ _flat(cut.key).T + value_grad @ _flat(cut.value).T
        x_grad, inputs_grad = pull_inputs(x_grad)
        return x_grad, AttentionWeights(
            (z.T @ query_grad).reshape(cut.query.shape),
            (z.T @ key_grad).reshape(cut.key.shape),
            (z.T @ value_grad).reshape(cut.value.shape),
            (read.T @ y_grad).reshape(cut.output.shape),
            inputs_grad,
            mixed_grad,
        )

    @override
    def tiled(self, extents: Extents, x: Array, weights: AttentionWeights) -> Array:
        """Skips tiles of the projections; the scores of inactive heads are computed."""
        features, heads = extents
        head_dim = weights.query.shape[2]
        width = resized(heads, lambda count: count * head_dim)
        kv_width = resized(width, lambda size: size // self.group)
        angles = self._angles(weights)

        def project(weight: Array, outputs: Extent) -> Array:
            flat = tiles.product(x, _flat(weight), features, outputs)
            batch = x.shape[0] // self.tokens
            count = flat.shape[1] // head_dim
            return flat.reshape(batch, self.tokens, count, head_dim).swapaxes(1, 2)

        query = _rotated(project(weights.query, width), angles)
        key = _rotated(project(weights.key, kv_width), angles)
        value = project(weights.value, kv_width)
        mixed = dot_product_attention(query, key, value, self.causal)
        rows = math.prod(weights.output.shape[:2])
        output = weights.output.reshape(rows, weights.output.shape[2])
        return tiles.product(_merge(mixed), output, width, features)

    @override
    def refuses_tiles(self, x: Array, weights: AttentionWeights) -> str | None:
        rounds = refusal(weights.inputs, weights.mixed)
        return rounds or tiles.refusal(x, *_flat(weights.query).shape)

    @override
    def work(self, sizes: Sizes, x: Array, weights: AttentionWeights) -> int:
        features, heads = sizes
        return x.shape[0] * heads * (2 * features + 2 * self.tokens)

    @override
    def split(self, weights: AttentionWeights) -> AttentionWeights:
        return parallel.split(weights, HEAD_AXES)

    def _angles(self, weights: AttentionWeights) -> RotaryAngles | None:
        if self.rotary_base is None:
            return None
        return rotary_angles(self.tokens, weights.query.shape[2], self.rotary_base)

    def _active(
        self, sizes: Sizes, x: Array, weights: AttentionWeights
    ) -> tuple[Array, AttentionWeights]:
        features, heads = sizes
        kv_heads = heads // self.group
        extents = Fixed(features), Fixed(heads)
        cut = AttentionWeights(
            active(weights.query, x, features, heads, None),
            active(weights.key, x, features, kv_heads, None),
            active(weights.value, x, features, kv_heads, None),
            active(weights.output, x, heads, None, features),
            while_running(weights.inputs, extents),
            while_running(weights.mixed, extents),
        )
        return prefix(x, None, features), cut

    def _split(
        self, x: Float[Array, "rows merged"], like: Float[Array, "a heads head_dim"]
    ) -> Float[Array, "batch heads tokens head_dim"]:
        batch = x.shape[0] // self.tokens
        return x.reshape(batch, self.tokens, *like.shape[1:]).transpose(0, 2, 1, 3)


def _rotated(x: Heads, angles: RotaryAngles | None) -> Heads:
    return x if angles is None else rotate(x, angles)


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
