"""The vision transformer as plain values: space, costs and latency terms."""

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from search.space import Architecture, Genotypes, Space
from supernets import costs
from supernets.model import Classes, Example
from supernets.norms import Norm
from supernets.quantization.precision import Precision
from supernets.transformer.stack import ResidualInit, Stack
from supernets.vision.grid import PatchGrid

if TYPE_CHECKING:
    from flax import nnx

    from supernets.vision.elastic import ElasticVisionTransformer
    from supernets.vision.plain import (
        PlainVisionTransformer,
        PlainVisionTransformerConfig,
    )

Pooling = Literal["mean", "token"]
"""What the head reads of a sequence: the mean of its tokens, or a class token."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisionTransformer:
    """An image classifier supernet (AutoFormer, Chen 2021; ViT, Dosovitskiy 2021).

    The size of a head is fixed, so that heads and width are chosen independently.

    Raises:
        ValueError: If sizes cannot form patches, heads or layers.
    """

    width: tuple[int, ...]
    """Choices of the model width, one for the whole network."""
    heads: tuple[int, ...]
    """Choices of the number of heads, for each layer; 0 skips attention."""
    ffn: tuple[int, ...]
    """Choices of the feed-forward hidden units, for each layer; 0 skips them."""
    depth: tuple[int, ...]
    """Choices of the number of layers that run; the largest is how many are stored."""
    depth_rule: Literal["prefix", "spaced", "free"] = "prefix"
    """Which layers run at a smaller depth."""
    head_dim: int = 32
    """Size of each head."""
    gated: bool = False
    """SwiGLU feed-forward networks; otherwise plain GELU ones."""
    norm: Norm = "layer"
    """Kind of normalisation."""
    residual_init: ResidualInit = "scaled"
    """How what adds to the residual stream starts; at ``zero``, layers do nothing."""
    precision: Precision | None = None
    """Bits of weights and activations that layers may have; float32 unless given."""
    image: tuple[int, int, int] = (32, 32, 3)
    """Height, width and channels of an image."""
    patch: int = 4
    """Side of the square patches; each becomes a token."""
    classes: int = 10
    """Number of classes."""
    pooling: Pooling = "mean"
    """What the head reads: the mean over the patches, or a class token, which sees the
    image by attention alone: a subnet of no heads anywhere is then blind."""

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError(f"classes must be positive, got {self.classes}")
        # Which check the sizes of layers and patches.
        _ = self.stack, self.grid

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
            gated=self.gated,
            norm=self.norm,
            residual_init=self.residual_init,
            precision=self.precision,
        )

    @property
    def layers(self) -> int:
        """Number of stored layers."""
        return self.stack.layers

    @property
    def grid(self) -> PatchGrid:
        """The patches of an image."""
        return PatchGrid(self.image, self.patch)

    @property
    def patches(self) -> int:
        """Number of patches of an image."""
        return self.grid.count

    @property
    def patch_values(self) -> int:
        """Number of values in a patch."""
        return self.grid.values

    @property
    def tokens(self) -> int:
        """Length of the sequence: the patches, and a class token if there is one."""
        return self.patches + (self.pooling == "token")

    def space(self) -> Space:
        """Returns the search space."""
        return self.stack.space()

    def build(self, *, rngs: "nnx.Rngs") -> "ElasticVisionTransformer":
        """Returns the supernet with initial weights."""
        # Imported here so that reading a recipe starts no network library.
        from supernets.vision.elastic import ElasticVisionTransformer

        return ElasticVisionTransformer(self, rngs=rngs)

    def cost(self, genotypes: Genotypes, *, batch: int, example: Example) -> costs.Cost:
        """Returns the cost on images; see `supernets.model.Model.cost`.

        Raises:
            ValueError: If ``example`` is not the shape of the images.
        """
        self.grid.require(example)
        width = self.stack.widths(genotypes)
        one, values = np.asarray(1), np.asarray(self.patch_values)
        bits = self.stack.outer_bits()
        return (
            costs.linear(batch * self.patches, values, width, bits)
            + costs.vectors(1 + self.tokens + (self.pooling == "token"), width)
            + self.stack.cost(genotypes, batch=batch, tokens=self.tokens)
            + self.stack.outer_norm(genotypes)
            + costs.linear(batch, width, np.asarray(self.classes), bits)
            + costs.vectors(self.classes, one)
        )

    def costs(
        self, genotypes: Genotypes, *, batch: int, example: Example
    ) -> dict[str, Float[np.ndarray, " population"]]:
        """Returns exact costs on images; see `supernets.model.Model.costs`.

        Raises:
            ValueError: If ``example`` is not the shape of the images.
        """
        total = self.cost(genotypes, batch=batch, example=example)
        held = batch * (math.prod(self.image) + self.classes)
        priced = costs.priced(total, other_bytes=costs.BYTES_PER_FLOAT * held)
        return priced | self.stack.mean_bits(genotypes)

    def latency_terms(
        self, genotypes: Genotypes
    ) -> Float[np.ndarray, "population terms"]:
        """Returns the terms of `supernets.transformer.stack.Stack.latency_terms`."""
        return self.stack.latency_terms(genotypes)

    def extract(
        self, supernet: "nnx.Module", architecture: Architecture
    ) -> "PlainVisionTransformer":
        """Returns a subnet as a plain network that holds only its own weights.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        from supernets.vision.extraction import extract

        return extract(supernet, self, architecture)

    def plain_config(
        self, architecture: Architecture
    ) -> "PlainVisionTransformerConfig":
        """Returns the sizes of the plain network of an architecture.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        from supernets.vision.extraction import plain_config

        return plain_config(self, architecture)

    def check(self, example: Example, classes: Classes) -> None:
        """Makes sure that data are images of this size and as many classes.

        Raises:
            ValueError: If they are not.
        """
        self.grid.require(example)
        if classes != self.classes:
            raise ValueError(
                f"the model has {self.classes} classes and the data {classes}; "
                "give the model as many"
            )
