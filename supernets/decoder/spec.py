"""The decoder language model as plain values: space, costs and latency terms."""

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from search.space import Choice, Depth, Genotypes, Space
from supernets import costs

if TYPE_CHECKING:
    from flax import nnx

    from supernets.decoder.elastic import ElasticDecoder

BYTES_PER_FLOAT = 4
BYTES_PER_TOKEN = 4
BYTES_PER_MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """A decoder-only transformer supernet with tied embeddings and rotary positions.

    Raises:
        ValueError: If sizes cannot form heads, groups or layers.
    """

    width: tuple[int, ...]
    """Choices of the model width, one for the whole network."""
    heads: tuple[int, ...]
    """Choices of the number of query heads, for each layer."""
    ffn: tuple[int, ...]
    """Choices of the feed-forward hidden units, for each layer."""
    depth: tuple[int, ...]
    """Choices of the number of layers that run; the largest is how many are stored."""
    depth_rule: Literal["prefix", "spaced", "free"] = "prefix"
    """Which layers run at a smaller depth."""
    head_dim: int = 32
    """Size of each head."""
    group: int = 1
    """Query heads per key-value head (grouped-query attention above 1)."""
    gated: bool = True
    """SwiGLU feed-forward networks; otherwise plain GELU ones."""
    norm: Literal["rms", "layer"] = "rms"
    """Kind of normalisation."""
    vocabulary: int = 256
    """Number of tokens; 256 models bytes."""

    def __post_init__(self) -> None:
        if self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"head_dim must be even, got {self.head_dim}")
        if self.vocabulary < 1:
            raise ValueError(f"vocabulary must be at least 1, got {self.vocabulary}")
        if self.group < 1:
            raise ValueError(f"group must be at least 1, got {self.group}")
        if wrong := [heads for heads in self.heads if heads % self.group]:
            raise ValueError(
                f"heads {wrong} do not divide into groups of {self.group}; every "
                "choice of heads must be a multiple of group"
            )
        for name in ("width", "heads", "ffn"):
            if (sizes := getattr(self, name)) and min(sizes) < 1:
                raise ValueError(f"{name} must be positive, got {sizes}")
        self.space()

    @property
    def layers(self) -> int:
        """Number of stored layers."""
        return self.depth[-1]

    def space(self) -> Space:
        """Returns the search space."""
        depth = Depth(self.depth, self.depth_rule)
        return Space(
            choices=(
                Choice("width", self.width),
                Choice("heads", self.heads, per_layer=True),
                Choice("ffn", self.ffn, per_layer=True),
            ),
            layers=self.layers,
            depth=depth,
        )

    def build(self, *, rngs: "nnx.Rngs") -> "ElasticDecoder":
        """Returns the supernet with initial weights."""
        # Imported here so that reading a recipe starts no network library.
        from supernets.decoder.elastic import ElasticDecoder

        return ElasticDecoder(self, rngs=rngs)

    def costs(
        self, genotypes: Genotypes, *, batch: int, tokens: int
    ) -> dict[str, Float[np.ndarray, " population"]]:
        """Returns exact costs of subnets on an input of ``batch x tokens``.

        Keys: ``params``, ``macs``, ``flops`` and ``memory_mb``, the float32 weights,
        tokens and logits that a device must hold (the compiler's temporaries come on
        top), in units of 10^6 bytes.
        """
        width, heads, ffn, active = self._sizes(genotypes)
        rows = batch * tokens
        vectors = 1 if self.norm == "rms" else 2
        layer = (
            costs.attention(batch, tokens, width, heads, self.head_dim, self.group)
            + costs.feed_forward(rows, width, ffn, use_gate=self.gated)
            + costs.norm(width, vectors=2 * vectors)
        )
        outer = width[:, 0]
        head_macs = costs.Cost(np.zeros_like(outer), rows * outer * self.vocabulary)
        total = (
            layer.where(active).over_layers()
            + costs.table(self.vocabulary, outer)
            + costs.norm(outer, vectors=vectors)
            + head_macs
        )
        held = BYTES_PER_FLOAT * (total.params + rows * self.vocabulary)
        return {
            "params": total.params.astype(float),
            "macs": total.macs.astype(float),
            "flops": 2.0 * total.macs,
            "memory_mb": (held + BYTES_PER_TOKEN * rows) / BYTES_PER_MEGABYTE,
        }

    def latency_terms(
        self, genotypes: Genotypes
    ) -> Float[np.ndarray, "population terms"]:
        """Returns the physical terms that latency is a non-negative sum of.

        A constant, layers, width (embedding and head), and summed over the layers that
        run: heads x width (projections), heads (scores), ffn x width, ffn, width.
        """
        width, heads, ffn, active = self._sizes(genotypes)
        per_layer = (active, heads * width, heads, ffn * width, ffn, width)
        summed = [(term * active).sum(1) for term in per_layer]
        constant = np.ones(len(genotypes))
        return np.stack([constant, width[:, 0], *summed], axis=1).astype(float)

    def _sizes(
        self, genotypes: Genotypes
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Width, heads and hidden units of every stored layer, and which run."""
        space = self.space()
        active = space.active_layers(genotypes).astype(np.int64)
        width = np.broadcast_to(space.values(genotypes, "width")[:, None], active.shape)
        heads, ffn = space.values(genotypes, "heads"), space.values(genotypes, "ffn")
        return width.astype(np.int64), heads, ffn, active
