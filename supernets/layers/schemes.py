"""Ways to quantise a weight, of which a subnet uses one."""

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.extents import Extent, Fixed, Mixed
from kernels.mixtures import mixture, shielded
from kernels.quantization.scheme import Scheme
from kernels.quantization.ways import quantize_one_way
from search.space import Choice
from supernets.layers.quantization import Picked, Quantization
from supernets.layers.quantizers import SUFFIX, ElasticQuantizers
from supernets.lowering import Dimension, LayerExtents, extent_of, sizes_of


class ElasticSchemes(nnx.Module):
    """Scales and zero points of one weight for each way to quantise it.

    As for each bit-width, nothing of one way is read by another (EQ-Net, Xu 2023).

    Args:
        choices: Which way a subnet takes; the last one changes fastest.
        members: What belongs to each way.
    """

    def __init__(
        self, choices: tuple[Choice, ...], members: Sequence[ElasticQuantizers]
    ) -> None:
        self.choices = choices
        self.members = nnx.List(members)

    def __call__(
        self, weight: Float[Array, "..."], extents: LayerExtents
    ) -> Float[Array, "..."]:
        """Returns the weight as a subnet's way and bits can hold it."""
        told = [extent_of(choice, extents) for choice in self.choices]
        if any(isinstance(extent, Mixed) for extent in told):
            return self._average(weight, told, extents)
        if all(isinstance(extent, Fixed) for extent in told):
            return self.members[int(self._place(told))](weight, extents)
        first = self.members[0]
        found = quantize_one_way(
            first.matrix(weight),
            extent_of(first.bits, extents),
            jnp.asarray(self._place(told)),
            [member.quantizers() for member in self.members],
            [member.scheme for member in self.members if member.scheme],
            is_nested=first.is_nested,
        )
        return first.restored(found, weight.shape)

    def _place(self, told: Sequence[Extent]) -> Int[Array, ""] | int:
        """Returns the place of a member among all."""
        place: Int[Array, ""] | int = 0
        for choice, extent in zip(self.choices, told, strict=True):
            place = len(choice.values) * place + _picked(choice, extent)
        return place

    def _average(
        self, weight: Array, told: Sequence[Extent], extents: LayerExtents
    ) -> Array:
        """Returns the mean of what members give, each with its probability."""
        shares = jnp.ones(1, weight.dtype)
        for choice, extent in zip(self.choices, told, strict=True):
            share = _probabilities(choice, extent).astype(weight.dtype)
            shares = (shares[:, None] * share[None]).reshape(-1)
        outputs = []
        for place, member in enumerate(self.members):
            graph, params = nnx.split(member)
            seen, params = shielded((weight, params), shares[place] != 0)
            outputs.append(nnx.merge(graph, params)(seen, extents))
        return mixture(outputs, shares)

    def calibrate(self, weight: Float[Array, "..."]) -> None:
        """Sets scales and zero points to those of the least error for a weight."""
        for member in self.members:
            member.calibrate(weight)


WeightQuantizers = ElasticQuantizers | ElasticSchemes


def _probabilities(choice: Choice, extent: Extent) -> Float[Array, " choices"]:
    """Returns the probability of each value: 1 of the one that is known or picked."""
    if isinstance(extent, Mixed):
        return extent.weights
    return jax.nn.one_hot(_picked(choice, extent), len(choice.values))


def _picked(choice: Choice, extent: Extent) -> Int[Array, ""] | int:
    if isinstance(extent, Fixed):
        return choice.index(extent.size)
    if isinstance(extent, Mixed):
        raise TypeError(f"a mixture picks no value of {choice.name}")
    return extent.index


def weight_quantizers(
    weight: Float[Array, "..."] | None,
    quantization: Quantization | None,
    *,
    inputs: tuple[Dimension, ...],
    outputs: tuple[Dimension, ...],
    read_by: Dimension = 1,
    is_transposed: bool = False,
    rngs: nnx.Rngs,
) -> WeightQuantizers | None:
    """Returns what quantises a weight, if anything does.

    Args:
        weight: Its first value.
        quantization: How it is quantised, and in how many bits.
        inputs: Dimensions of its input axes.
        outputs: Dimensions of its output axes.
        read_by: The size of what reads the weight; of size 0 it is not used.
        is_transposed: Whether the weight has its outputs first.
        rngs: Source of the first adapters.

    Raises:
        ValueError: If groups do not divide the inputs.
    """
    if weight is None or quantization is None:
        return None

    def member(scheme: Scheme | None, *where: Picked) -> ElasticQuantizers:
        return ElasticQuantizers(
            weight,
            quantization,
            scheme,
            where=where,
            inputs=inputs,
            outputs=outputs,
            read_by=read_by,
            is_transposed=is_transposed,
            rngs=rngs,
        )

    choices, schemes = quantization.choices, quantization.schemes
    if not choices:
        return member(schemes[0] if schemes else None)
    places = itertools.product(
        *([Picked(choice, size) for size in sizes_of(choice)] for choice in choices)
    )
    members = [
        member(scheme, *where) for scheme, where in zip(schemes, places, strict=True)
    ]
    return ElasticSchemes(choices, members)


def quantized_weights(layer: nnx.Module) -> Iterator[tuple[Array, WeightQuantizers]]:
    """Returns the weights that a layer itself owns and quantises, and what does.

    Args:
        layer: That has the quantisers of its weight ``query`` as ``query_quantizers``.
    """
    for name, found in vars(layer).items():
        # Not what a list of several ways holds.
        if name.endswith(SUFFIX) and isinstance(found, WeightQuantizers):
            yield getattr(layer, name.removesuffix(SUFFIX))[...], found


def quantized(
    weight: Float[Array, "..."],
    quantizers: WeightQuantizers | None,
    extents: LayerExtents,
) -> Float[Array, "..."]:
    """Returns a weight as a subnet uses it: as it is, where nothing quantises it."""
    return weight if quantizers is None else quantizers(weight, extents)
