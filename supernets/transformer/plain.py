"""The plain layers that those of a subnet become: standard ones, no elastic code."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from flax import nnx
from jaxtyping import Array, Float

from kernels.dot_product import dot_product_attention
from kernels.rotary import rotary_angles, rotate
from supernets.norms import Norm
from supernets.quantization.plain_parts import Parts, parts_of_layer
from supernets.quantization.plain_precision import PlainPrecision, with_tuples


@runtime_checkable
class LayerSizes(Protocol):
    """Sizes of plain layers; heads, kv_heads and ffn have one entry for each.

    An entry of 0 is of a layer without that half.
    """

    @property
    def width(self) -> int:
        """The model width."""
        ...

    @property
    def head_dim(self) -> int:
        """Size of a head."""
        ...

    @property
    def heads(self) -> tuple[int, ...]:
        """Query heads."""
        ...

    @property
    def kv_heads(self) -> tuple[int, ...]:
        """Key-value heads."""
        ...

    @property
    def ffn(self) -> tuple[int, ...]:
        """Hidden units."""
        ...

    @property
    def gated(self) -> bool:
        """Whether feed-forward networks are gated."""
        ...

    @property
    def norm(self) -> Norm:
        """Kind of the norms."""
        ...


class PlainAttention(nnx.Module):
    """Self-attention.

    Args:
        width: The model width.
        heads: Query heads.
        kv_heads: Key-value heads.
        head_dim: Size of a head.
        causal: Whether a position sees only those up to its own.
        rotary_base: Base of the rotary frequencies; none for no rotary positions.
        parts: What it is made of.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        *,
        head_dim: int,
        causal: bool,
        rotary_base: float | None,
        parts: Parts,
        rngs: nnx.Rngs,
    ) -> None:
        self.head_dim = head_dim
        self.causal = causal
        self.rotary_base = rotary_base
        merged, shared = heads * head_dim, kv_heads * head_dim
        self.query = parts.linear(width, merged, rngs=rngs)
        self.key = parts.linear(width, shared, rngs=rngs)
        self.value = parts.linear(width, shared, rngs=rngs)
        self.output = parts.linear(merged, width, rngs=rngs)
        self.input_rounding = parts.rounding()
        self.mixed_rounding = parts.rounding()

    def __call__(
        self, x: Float[Array, "rows width"], *, tokens: int
    ) -> Float[Array, "rows width"]:
        """Attends within sequences of ``tokens`` rows."""
        read = self.input_rounding(x)
        query = self._split(self.query(read), tokens)
        key = self._split(self.key(read), tokens)
        if self.rotary_base is not None:
            angles = rotary_angles(tokens, self.head_dim, self.rotary_base)
            query, key = rotate(query, angles), rotate(key, angles)
        value = self._split(self.value(read), tokens)
        mixed = dot_product_attention(query, key, value, self.causal)
        merged = mixed.transpose(0, 2, 1, 3).reshape(x.shape[0], -1)
        return self.output(self.mixed_rounding(merged))

    def _split(
        self, x: Float[Array, "rows features"], tokens: int
    ) -> Float[Array, "batch heads tokens head_dim"]:
        return x.reshape(
            -1, tokens, x.shape[-1] // self.head_dim, self.head_dim
        ).transpose(0, 2, 1, 3)


class PlainFeedForward(nnx.Module):
    """Gated (SwiGLU) or plain (GELU) feed-forward network.

    Args:
        width: The model width.
        hidden: Hidden units.
        use_gate: Whether it is gated.
        parts: What it is made of.
        rngs: Source of the initial weights.
    """

    def __init__(
        self, width: int, hidden: int, *, use_gate: bool, parts: Parts, rngs: nnx.Rngs
    ) -> None:
        self.up = parts.linear(width, hidden, rngs=rngs)
        self.down = parts.linear(hidden, width, rngs=rngs)
        self.gate = (
            parts.linear(width, hidden, rngs=rngs) if use_gate else nnx.data(None)
        )
        self.input_rounding = parts.rounding()
        self.hidden_rounding = parts.rounding()

    def __call__(self, x: Float[Array, "rows width"]) -> Float[Array, "rows width"]:
        """Applies the network."""
        read = self.input_rounding(x)
        units = self.up(read)
        units = (
            nnx.gelu(units) if self.gate is None else nnx.silu(self.gate(read)) * units
        )
        return self.down(self.hidden_rounding(units))


def plain_norm(
    kind: Norm, width: int, *, rngs: nnx.Rngs
) -> nnx.RMSNorm | nnx.LayerNorm:
    """Returns a norm of a kind."""
    if kind == "rms":
        return nnx.RMSNorm(width, rngs=rngs)
    # Flax's fast variance, E[x^2] - E[x]^2, cancels where the mean is large.
    return nnx.LayerNorm(width, use_fast_variance=False, rngs=rngs)


class PlainBlock(nnx.Module):
    """Pre-norm transformer block, of which either half may be missing.

    Args:
        sizes: Of all layers.
        layer: Which of them it is.
        causal: Whether a position sees only those up to its own.
        rotary_base: Base of the rotary frequencies; none for no rotary positions.
        parts: What it is made of.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        sizes: LayerSizes,
        layer: int,
        *,
        causal: bool,
        rotary_base: float | None,
        parts: Parts,
        rngs: nnx.Rngs,
    ) -> None:
        width, heads, hidden = sizes.width, sizes.heads[layer], sizes.ffn[layer]
        self.attends, self.feeds = heads > 0, hidden > 0
        if self.attends:
            self.attention_norm = plain_norm(sizes.norm, width, rngs=rngs)
            self.attention = PlainAttention(
                width,
                heads,
                sizes.kv_heads[layer],
                head_dim=sizes.head_dim,
                causal=causal,
                rotary_base=rotary_base,
                parts=parts,
                rngs=rngs,
            )
        if self.feeds:
            self.feed_forward_norm = plain_norm(sizes.norm, width, rngs=rngs)
            self.feed_forward = PlainFeedForward(
                width, hidden, use_gate=sizes.gated, parts=parts, rngs=rngs
            )

    def __call__(
        self, x: Float[Array, "rows width"], *, tokens: int
    ) -> Float[Array, "rows width"]:
        """Transforms flattened sequences of ``tokens`` rows each."""
        if self.attends:
            x = x + self.attention(self.attention_norm(x), tokens=tokens)
        if self.feeds:
            x = x + self.feed_forward(self.feed_forward_norm(x))
        return x


def plain_blocks(
    sizes: LayerSizes,
    *,
    causal: bool,
    rotary_base: float | None,
    precision: PlainPrecision | None = None,
    rngs: nnx.Rngs,
) -> list[PlainBlock]:
    """Returns all layers; see `PlainBlock`.

    Args:
        sizes: Of all layers.
        causal: Whether a position sees only those up to its own.
        rotary_base: Base of the rotary frequencies; none for no rotary positions.
        precision: Bits of each layer; weights are float32 without.
        rngs: Source of the initial weights.

    Raises:
        ValueError: If there are bits of more or fewer layers.
    """
    layers = len(sizes.heads)
    if precision is not None:
        precision.require_layers(layers)
    return [
        PlainBlock(
            sizes,
            layer,
            causal=causal,
            rotary_base=rotary_base,
            parts=parts_of_layer(precision, layer),
            rngs=rngs,
        )
        for layer in range(layers)
    ]


def fields_from_json(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a config from their JSON, where tuples are lists.

    Raises:
        TypeError: If a field of the precision is missing or unknown.
        ValueError: If the precision is wrong.
    """
    fields = with_tuples(stored)
    precision = fields.get("precision")
    if precision is None:
        return fields
    return {**fields, "precision": PlainPrecision.from_json(precision)}
