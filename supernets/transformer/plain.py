"""The plain layers that those of a subnet become: standard ones, no elastic code."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from flax import nnx
from jaxtyping import Array, Float

from kernels.dot_product import dot_product_attention
from kernels.rotary import rotary_angles, rotate
from supernets.norms import Norm


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
        rngs: nnx.Rngs,
    ) -> None:
        self.head_dim = head_dim
        self.causal = causal
        self.rotary_base = rotary_base
        merged, shared = heads * head_dim, kv_heads * head_dim
        self.query = nnx.Linear(width, merged, use_bias=False, rngs=rngs)
        self.key = nnx.Linear(width, shared, use_bias=False, rngs=rngs)
        self.value = nnx.Linear(width, shared, use_bias=False, rngs=rngs)
        self.output = nnx.Linear(merged, width, use_bias=False, rngs=rngs)

    def __call__(
        self, x: Float[Array, "rows width"], *, tokens: int
    ) -> Float[Array, "rows width"]:
        """Attends within sequences of ``tokens`` rows."""
        query = self._split(self.query(x), tokens)
        key = self._split(self.key(x), tokens)
        if self.rotary_base is not None:
            angles = rotary_angles(tokens, self.head_dim, self.rotary_base)
            query, key = rotate(query, angles), rotate(key, angles)
        value = self._split(self.value(x), tokens)
        mixed = dot_product_attention(query, key, value, self.causal)
        return self.output(mixed.transpose(0, 2, 1, 3).reshape(x.shape[0], -1))

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
        rngs: Source of the initial weights.
    """

    def __init__(
        self, width: int, hidden: int, *, use_gate: bool, rngs: nnx.Rngs
    ) -> None:
        self.up = nnx.Linear(width, hidden, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(hidden, width, use_bias=False, rngs=rngs)
        self.gate = (
            nnx.Linear(width, hidden, use_bias=False, rngs=rngs)
            if use_gate
            else nnx.data(None)
        )

    def __call__(self, x: Float[Array, "rows width"]) -> Float[Array, "rows width"]:
        """Applies the network."""
        units = self.up(x)
        if self.gate is None:
            return self.down(nnx.gelu(units))
        return self.down(nnx.silu(self.gate(x)) * units)


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
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        sizes: LayerSizes,
        layer: int,
        *,
        causal: bool,
        rotary_base: float | None,
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
                rngs=rngs,
            )
        if self.feeds:
            self.feed_forward_norm = plain_norm(sizes.norm, width, rngs=rngs)
            self.feed_forward = PlainFeedForward(
                width, hidden, use_gate=sizes.gated, rngs=rngs
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
    sizes: LayerSizes, *, causal: bool, rotary_base: float | None, rngs: nnx.Rngs
) -> list[PlainBlock]:
    """Returns all layers; see `PlainBlock`."""
    return [
        PlainBlock(sizes, layer, causal=causal, rotary_base=rotary_base, rngs=rngs)
        for layer in range(len(sizes.heads))
    ]


def fields_from_json(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a config from their JSON, where tuples are lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
    }
