"""Ways to quantise a weight, of which a subnet uses one."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import jax
from flax import nnx
from jaxtyping import Array, Float

from kernels.extents import Fixed, Indexed
from kernels.mixtures import mixture, shielded
from kernels.quantization.scheme import Scheme
from search.space import Choice
from supernets.layers.quantization import Picked, Quantization
from supernets.layers.quantizers import SUFFIX, ElasticQuantizers
from supernets.lowering import Dimension, LayerExtents, extent_of, sizes_of
from supernets.weights import Params


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
        return _picked(weight, list(self.members), self.choices, extents)

    def calibrate(self, weight: Float[Array, "..."]) -> None:
        """Sets scales and zero points to those of the least error for a weight."""
        for member in self.members:
            member.calibrate(weight)


WeightQuantizers = ElasticQuantizers | ElasticSchemes


def _picked(
    weight: Array,
    members: Sequence[ElasticQuantizers],
    choices: tuple[Choice, ...],
    extents: LayerExtents,
) -> Array:
    """Returns a weight as the members that some choices pick quantise it."""
    if not choices:
        (only,) = members
        return only(weight, extents)
    choice, *others = choices
    each = len(members) // len(choice.values)
    graphs, states = zip(
        *(
            nnx.split(nnx.List(members[i : i + each]))
            for i in range(0, len(members), each)
        ),
        strict=True,
    )

    def run(which: int, weight: Array, state: Params) -> Array:
        part = list(nnx.merge(graphs[which], state))
        return _picked(weight, part, tuple(others), extents)

    extent = extent_of(choice, extents)
    if isinstance(extent, Fixed):
        which = choice.index(extent.size)
        return run(which, weight, states[which])
    if isinstance(extent, Indexed):

        def branch(which: int) -> Callable[[Array, tuple[Params, ...]], Array]:
            return lambda weight, states: run(which, weight, states[which])

        branches = list(map(branch, range(len(states))))
        return jax.lax.switch(extent.index, branches, weight, states)
    outputs = [
        run(which, *shielded((weight, state), extent.weights[which] != 0))
        for which, state in enumerate(states)
    ]
    return mixture(outputs, extent.weights)


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
