"""A stack of transformer layers as plain values: space, costs and latency terms."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from kernels.quantization.scheme import FLOAT_WIDTH
from search.space import Choice, Depth, Genotypes, Space
from supernets import costs
from supernets.norms import VECTORS, Norm
from supernets.quantization.mean_bits import mean_bits
from supernets.quantization.precision import ACTIVATION_BITS, WEIGHT_BITS, Precision

ResidualInit = Literal["scaled", "zero"]
"""How projections that add to the residual stream start: at ``(2 layers)^-1/2`` of
their usual scale (GPT-2, Radford 2019, section 2.3), or at zero, so that every layer
starts as the identity (BigNAS, Yu 2020, does so by the scale of a last norm)."""


TILE = 128
"""Entries of a vector that kernels of matrix products go by."""


class LayerSizes(NamedTuple):
    """Sizes of every stored layer of every subnet.

    Attributes:
        width: The model width, the same in every layer.
        heads: Query heads, 0 where attention is skipped.
        ffn: Hidden units, 0 where the feed-forward network is skipped.
        runs: Whether the layer runs at all.
    """

    width: Int[np.ndarray, "population layers"]
    heads: Int[np.ndarray, "population layers"]
    ffn: Int[np.ndarray, "population layers"]
    runs: Bool[np.ndarray, "population layers"]

    @property
    def attends(self) -> Bool[np.ndarray, "population layers"]:
        """Where attention runs."""
        return self.runs & (self.heads > 0)

    @property
    def feeds(self) -> Bool[np.ndarray, "population layers"]:
        """Where the feed-forward network runs."""
        return self.runs & (self.ffn > 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """Layers of attention and a feed-forward network, each of which may be dropped.

    A size of 0 among the heads or the hidden units of a layer skips that half of it,
    with its norm (LLM-Drop, He 2024: attention is more redundant than the rest). The
    fields are those of the models; see `supernets.decoder.spec.Decoder`.

    Raises:
        ValueError: If sizes cannot form heads, groups or layers.
    """

    width: tuple[int, ...]
    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    depth: tuple[int, ...]
    depth_rule: Literal["prefix", "spaced", "free"]
    head_dim: int
    group: int = 1
    gated: bool
    norm: Norm
    residual_init: ResidualInit = "scaled"
    precision: Precision | None = None

    def __post_init__(self) -> None:
        if self.head_dim < 1:
            raise ValueError(f"head_dim must be at least 1, got {self.head_dim}")
        if self.group < 1:
            raise ValueError(f"group must be at least 1, got {self.group}")
        if wrong := [heads for heads in self.heads if heads % self.group]:
            raise ValueError(
                f"heads {wrong} do not divide into groups of {self.group}; every "
                "choice of heads must be a multiple of group"
            )
        if self.width and min(self.width) < 1:
            raise ValueError(f"width must be positive, got {self.width}")
        for name in ("heads", "ffn"):
            sizes = getattr(self, name)
            if sizes and (min(sizes) < 0 or max(sizes) < 1):
                raise ValueError(
                    f"{name} must be positive, or 0 in some of the choices, got {sizes}"
                )
        self._require_groups()
        self.space()

    @property
    def layers(self) -> int:
        """Number of stored layers."""
        return self.depth[-1]

    @property
    def output_scale(self) -> float:
        """Initial scale of what adds to the residual stream; see `ResidualInit`."""
        return 0.0 if self.residual_init == "zero" else (2 * self.layers) ** -0.5

    def space(self) -> Space:
        """Returns the search space."""
        depth = Depth(self.depth, self.depth_rule)
        return Space(
            choices=(
                Choice("width", self.width),
                Choice("heads", self.heads, per_layer=True),
                Choice("ffn", self.ffn, per_layer=True),
                *(() if self.precision is None else self.precision.choices()),
            ),
            layers=self.layers,
            depth=depth,
        )

    def _require_groups(self) -> None:
        schemes = () if self.precision is None else self.precision.schemes
        for scheme in schemes:
            heads = max(self.heads) * self.head_dim
            for inputs in (max(self.width), heads, max(self.ffn)):
                scheme.scale_shape(inputs, 1)

    def cost(self, genotypes: Genotypes, *, batch: int, tokens: int) -> costs.Cost:
        """Returns the cost of the layers on ``batch`` sequences of ``tokens``."""
        sizes, bits = self.sizes(genotypes), self.bits(genotypes)
        return self.cost_of(sizes, batch=batch, tokens=tokens, bits=bits)

    def cost_of(
        self,
        sizes: LayerSizes,
        *,
        batch: int,
        tokens: int,
        bits: costs.Bits = costs.FLOAT,
    ) -> costs.Cost:
        """Returns the cost of layers of any sizes that are made as these are."""
        norm = costs.vectors(VECTORS[self.norm], sizes.width)
        halves = self._halves(sizes, batch=batch, tokens=tokens, bits=bits)
        layer = halves + norm.where(sizes.attends) + norm.where(sizes.feeds)
        return layer.over_layers()

    def _halves(
        self,
        sizes: LayerSizes,
        *,
        batch: int,
        tokens: int,
        bits: costs.Bits = costs.FLOAT,
    ) -> costs.Cost:
        """Returns the cost of each layer without its norms."""
        width, heads, ffn, runs = sizes
        attention = costs.attention(
            batch, tokens, width, heads, self.head_dim, self.group, bits
        )
        feed_forward = costs.feed_forward(
            batch * tokens, width, ffn, use_gate=self.gated, bits=bits
        )
        return (attention + feed_forward).where(runs)

    def mean_bits(
        self, genotypes: Genotypes
    ) -> dict[str, Float[np.ndarray, " population"]]:
        """Returns ``mean_bits``, of an average weight of the layers."""
        if self.precision is None:
            return {"mean_bits": np.full(len(genotypes), float(costs.FLOAT_BITS))}
        layers = self._halves(self.sizes(genotypes), batch=0, tokens=0)
        weights = self.bits(genotypes).weights
        return {"mean_bits": mean_bits(layers.params, weights)}

    def bits(self, genotypes: Genotypes) -> costs.Bits:
        """Returns the bits of every stored layer of every subnet."""
        if self.precision is None:
            return costs.FLOAT
        space, precision = self.space(), self.precision
        found: dict[str, np.ndarray | int] = {
            choice.name: space.values(genotypes, choice.name).astype(np.int64)
            for choice in precision.choices()
        }
        return costs.Bits(
            found[WEIGHT_BITS],
            found.get(ACTIVATION_BITS, FLOAT_WIDTH),
            precision.schemes,
            self._scheme_of(genotypes),
            has_adapters=precision.adapters > 0,
        )

    def _scheme_of(self, genotypes: Genotypes) -> Int[np.ndarray, "population layers"]:
        """Returns the place of each layer's scheme among those of the precision."""
        space = self.space()
        place = np.zeros((len(genotypes), self.layers), np.int64)
        for choice in self.precision.scheme_choices() if self.precision else ():
            genes = genotypes[:, space.slices[choice.name]]
            place = len(choice.values) * place + genes
        return place

    def outer_bits(self) -> costs.Bits:
        """Returns the bits of the weights outside the layers."""
        if self.precision is None:
            return costs.FLOAT
        precision = self.precision
        outer = precision.outer_scheme
        schemes = () if outer is None else (outer,)
        return costs.Bits(precision.outer, FLOAT_WIDTH, schemes)

    def outer_norm(self, genotypes: Genotypes) -> costs.Cost:
        """Returns the cost of the norm that comes after the layers."""
        return costs.vectors(VECTORS[self.norm], self.widths(genotypes))

    def latency_terms(
        self, genotypes: Genotypes
    ) -> Float[np.ndarray, "population terms"]:
        """Returns the terms of `latency_terms_of`."""
        halves_drop = 0 in (*self.heads, *self.ffn)
        sizes = self.sizes(genotypes)
        return latency_terms_of(sizes, widths=self.width, halves_drop=halves_drop)

    def widths(self, genotypes: Genotypes) -> Int[np.ndarray, " population"]:
        """Returns the model width of each subnet."""
        return self.space().values(genotypes, "width").astype(np.int64)

    def sizes(self, genotypes: Genotypes) -> LayerSizes:
        """Returns the sizes of every stored layer, and which run."""
        space = self.space()
        runs = space.active_layers(genotypes)
        heads, ffn = (
            space.values(genotypes, name).astype(np.int64) for name in ("heads", "ffn")
        )
        width = np.broadcast_to(self.widths(genotypes)[:, None], runs.shape)
        return LayerSizes(width, heads, ffn, runs)


def latency_terms_of(
    sizes: LayerSizes, *, widths: Sequence[int], halves_drop: bool
) -> Float[np.ndarray, "population terms"]:
    """Returns the physical terms that latency is a non-negative sum of.

    A constant, width (embedding and head), and summed over the layers that run:
    attentions, heads x width (projections), heads (scores), ffn x width, ffn, width
    (norms). Where the halves of a layer are dropped separately, also feed-forward
    networks, which otherwise are as many as attentions.

    Where some width fills its last tile in part only, also heads x tiles and ffn x
    tiles: a product of width 192 takes longer than what lies between those of 128 and
    256. On a CPU that takes 3.8 to 4.4% of error down to about 2.5%
    (``experiments.benchmarks.latency``).

    Args:
        sizes: Of every layer of every subnet.
        widths: That a subnet may have.
        halves_drop: Whether a half of a layer may be dropped alone.
    """
    width, heads, ffn, _ = sizes
    attends, feeds = sizes.attends, sizes.feeds
    norms = (attends.astype(np.int64) + feeds) * width
    per_layer = [
        attends,
        heads * width * attends,
        heads * attends,
        ffn * width * feeds,
        ffn * feeds,
        norms,
    ]
    if halves_drop:
        per_layer.append(feeds)
    if any(size > TILE and size % TILE for size in widths):
        tiles = -(-width // TILE)
        per_layer += [heads * tiles * attends, ffn * tiles * feeds]
    summed = [term.sum(1) for term in per_layer]
    constant = np.ones(len(width))
    return np.stack([constant, width[:, 0], *summed], axis=1).astype(float)
