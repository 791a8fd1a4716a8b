"""The decoder language model as plain values: space, costs and latency terms."""

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from search.space import Architecture, Genotypes, Space
from supernets import costs
from supernets.model import Classes, Example
from supernets.norms import Norm
from supernets.quantization.precision import Precision
from supernets.transformer.stack import ResidualInit, Stack

if TYPE_CHECKING:
    from flax import nnx

    from supernets.decoder.elastic import ElasticDecoder
    from supernets.decoder.plain import PlainDecoder, PlainDecoderConfig

BYTES_PER_TOKEN = 4

ROTARY_BASE = 10_000.0
"""Of the rotary positions (Su 2021, section 3.2.2)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """A decoder-only transformer supernet with tied embeddings and rotary positions.

    Raises:
        ValueError: If sizes cannot form heads, groups or layers.
    """

    width: tuple[int, ...]
    """Choices of the model width, one for the whole network."""
    heads: tuple[int, ...]
    """Choices of the number of query heads, for each layer; 0 skips attention."""
    ffn: tuple[int, ...]
    """Choices of the feed-forward hidden units, for each layer; 0 skips them."""
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
    norm: Norm = "rms"
    """Kind of normalisation."""
    residual_init: ResidualInit = "scaled"
    """How what adds to the residual stream starts; at ``zero``, layers do nothing."""
    precision: Precision | None = None
    """Bits of weights and activations that layers may have; float32 unless given."""
    vocabulary: int = 256
    """Number of tokens; 256 models bytes."""

    def __post_init__(self) -> None:
        if self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"head_dim must be even, got {self.head_dim}")
        if self.vocabulary < 1:
            raise ValueError(f"vocabulary must be at least 1, got {self.vocabulary}")
        # Which checks the sizes.
        _ = self.stack

    @property
    def stack(self) -> Stack:
        """The layers."""
        return Stack(
            width=self.width,
            heads=self.heads,
            ffn=self.ffn,
            depth=self.depth,
            depth_rule=self.depth_rule,
            head_dim=self.head_dim,
            group=self.group,
            gated=self.gated,
            norm=self.norm,
            residual_init=self.residual_init,
            precision=self.precision,
        )

    @property
    def layers(self) -> int:
        """Number of stored layers."""
        return self.stack.layers

    def space(self) -> Space:
        """Returns the search space."""
        return self.stack.space()

    def build(self, *, rngs: "nnx.Rngs") -> "ElasticDecoder":
        """Returns the supernet with initial weights."""
        # Imported here so that reading a recipe starts no network library.
        from supernets.decoder.elastic import ElasticDecoder

        return ElasticDecoder(self, rngs=rngs)

    def cost(self, genotypes: Genotypes, *, batch: int, example: Example) -> costs.Cost:
        """Returns the cost on sequences; see `supernets.model.Model.cost`.

        Raises:
            ValueError: If ``example`` is not the shape of a sequence of tokens.
        """
        width, tokens = self.stack.widths(genotypes), _tokens(example)
        vocabulary, bits = np.asarray(self.vocabulary), self.stack.outer_bits()
        return (
            self.stack.cost(genotypes, batch=batch, tokens=tokens)
            + costs.table(width, vocabulary, bits)
            + self.stack.outer_norm(genotypes)
            + costs.tied(batch * tokens, width, vocabulary, bits)
        )

    def costs(
        self, genotypes: Genotypes, *, batch: int, example: Example
    ) -> dict[str, Float[np.ndarray, " population"]]:
        """Returns exact costs on sequences; see `supernets.model.Model.costs`.

        Raises:
            ValueError: If ``example`` is not the shape of a sequence of tokens.
        """
        total = self.cost(genotypes, batch=batch, example=example)
        rows = batch * _tokens(example)
        logits = costs.BYTES_PER_FLOAT * rows * self.vocabulary
        priced = costs.priced(total, other_bytes=logits + BYTES_PER_TOKEN * rows)
        return priced | self.stack.mean_bits(genotypes)

    def latency_terms(
        self, genotypes: Genotypes
    ) -> Float[np.ndarray, "population terms"]:
        """Returns the terms of `supernets.transformer.stack.Stack.latency_terms`."""
        return self.stack.latency_terms(genotypes)

    def extract(
        self, supernet: "nnx.Module", architecture: Architecture
    ) -> "PlainDecoder":
        """Returns a subnet as a plain network that holds only its own weights.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        from supernets.decoder.extraction import extract

        return extract(supernet, self, architecture)

    def plain_config(self, architecture: Architecture) -> "PlainDecoderConfig":
        """Returns the sizes of the plain network of an architecture.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        from supernets.decoder.extraction import plain_config

        return plain_config(self, architecture)

    def check(self, example: Example, classes: Classes) -> None:
        """Makes sure that data are sequences of tokens of the vocabulary.

        Raises:
            ValueError: If they are not.
        """
        _tokens(example)
        if not isinstance(classes, int):
            raise ValueError(
                f"a decoder predicts one token; the data has tasks {sorted(classes)}"
            )
        if self.vocabulary < classes:
            raise ValueError(
                f"vocabulary {self.vocabulary} is too small for the data: {classes}"
            )


def _tokens(example: Example) -> int:
    if len(example) != 1:
        raise ValueError(
            f"a decoder reads sequences of tokens, of shape (tokens,), got {example}"
        )
    return example[0]
