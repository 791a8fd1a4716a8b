"""From genotypes to extents: what every elastic layer is told about a subnet.

The extents of a subnet are a dictionary: choice name to extent, or to one extent for
each stored layer if the choice is per layer. ``depth`` holds a gate over the sizes
(0, 1) for each stored layer. Only choices of integers are sizes; others are left out.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from kernels.extents import Extent, Fixed, Indexed
from search.space import Choice, Genotype, Space

Extents = Mapping[str, Extent | tuple[Extent, ...]]
LayerExtents = Mapping[str, Extent]

GATE = (0, 1)


def fixed_extents(space: Space, genotype: Genotype) -> Extents:
    """Returns static extents: the program that is traced is the subnet itself."""
    active = space.active_layers(genotype[None])[0]
    extents: dict[str, Extent | tuple[Extent, ...]] = {
        "depth": tuple(Fixed(int(on)) for on in active)
    }
    for choice in _sizes(space):
        sizes = [int(size) for size in np.asarray(choice.values)]
        genes = genotype[space.slices[choice.name]]
        picked = tuple(Fixed(sizes[gene]) for gene in genes)
        extents[choice.name] = picked if choice.per_layer else picked[0]
    return extents


def indexed_extents(space: Space, genotype: Int[Array, " genes"]) -> Extents:
    """Returns traced extents: one program serves every genotype."""
    extents: dict[str, Extent | tuple[Extent, ...]] = {"depth": _gates(space, genotype)}
    for choice in _sizes(space):
        where = space.slices[choice.name]
        sizes = tuple(int(size) for size in np.asarray(choice.values))
        picked = tuple(
            Indexed(genotype[gene], sizes) for gene in range(where.start, where.stop)
        )
        extents[choice.name] = picked if choice.per_layer else picked[0]
    return extents


def at_layer(extents: Extents, layer: int) -> LayerExtents:
    """Returns what one stored layer sees: a single extent for each name."""
    return {
        name: extent[layer] if isinstance(extent, tuple) else extent
        for name, extent in extents.items()
    }


def outside_layers(extents: Extents) -> LayerExtents:
    """Returns what is seen outside the stack of layers, where everything runs."""
    shared = {n: e for n, e in extents.items() if not isinstance(e, tuple)}
    return {**shared, "depth": Fixed(1)}


def extent_of(dimension: Choice | int, extents: LayerExtents) -> Extent:
    """Returns the extent of a layer's dimension, which is elastic or a plain size.

    Raises:
        KeyError: If the dimension is a choice that the space does not have.
    """
    if isinstance(dimension, int):
        return Fixed(dimension)
    if dimension.name not in extents:
        raise KeyError(f"no extent {dimension.name!r}; there are {list(extents)}")
    return extents[dimension.name]


def full_size(dimension: Choice | int) -> int:
    """Returns the stored size of a dimension.

    Raises:
        TypeError: If the choice is not one of integers.
    """
    if isinstance(dimension, int):
        return dimension
    largest = dimension.values[-1]
    if isinstance(largest, bool) or not isinstance(largest, int):
        raise TypeError(f"choice {dimension.name!r} is not a size: {dimension.values}")
    return largest


def _sizes(space: Space) -> list[Choice]:
    return [c for c in space.choices if type(c.values[0]) is int]


def _gates(space: Space, genotype: Int[Array, " genes"]) -> tuple[Extent, ...]:
    if space.depth is None:
        return tuple(Fixed(1) for _ in range(space.layers))
    if space.depth.rule == "free":
        running = genotype[: space.layers]
    else:
        table = space.depth.kept(space.layers).astype(np.int32)
        running = jnp.asarray(table)[genotype[0]]
    return tuple(Indexed(running[layer], GATE) for layer in range(space.layers))
