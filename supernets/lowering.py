"""From genotypes to extents: what every elastic layer is told about a subnet.

The extents of a subnet are a dictionary: choice name to extent, or to one extent for
each stored layer if the choice is per layer. ``depth`` holds a gate over the sizes
(0, 1) for each stored layer. Only choices of integers are sizes; others are left out.

A mixture of subnets has the same form, but for a ``prefix`` depth: that is one mixture
of how many layers run, since it is their outputs that are mixed (`supernets.depth`).
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from kernels.executions import Execution
from kernels.extents import Extent, Fixed, Indexed, Mixed, resized, scaled
from search.space import Choice, Genotype, Space

Extents = Mapping[str, Extent | tuple[Extent, ...]]
LayerExtents = Mapping[str, Extent]

GATE = (0, 1)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A dimension that two decisions make together: ``base * factor / divisor``.

    Such are hidden units as a ratio times the width. The ratios 3.5 and 4 (AutoFormer,
    Chen 2021, Table 1) are the factors 7 and 8 with the divisor 2.

    Raises:
        ValueError: If a product of choices is not a multiple of the divisor.
        TypeError: If a choice is not one of integers.
    """

    base: Choice | int
    factor: Choice | int
    divisor: int = 1

    def __post_init__(self) -> None:
        for base in sizes_of(self.base):
            for factor in sizes_of(self.factor):
                if base * factor % self.divisor:
                    raise ValueError(
                        f"{base} x {factor} is not a multiple of the divisor "
                        f"{self.divisor}: choose sizes that are, for every pair"
                    )


Dimension = Choice | Scaled | int
"""What a layer takes for a size: elastic, elastic in two ways, or fixed."""


@dataclasses.dataclass(frozen=True)
class Groups:
    """A dimension of groups of ``size`` neighbours among ``of * each`` entries.

    The last group of a subnet may be cut short.
    """

    of: Dimension
    each: int
    size: int

    def count(self, size: int) -> int:
        """Returns how many groups so many of the dimension begin."""
        return -(-size * self.each // self.size)


StoredDimension = Dimension | Groups
"""What an axis of a weight follows."""


def fixed_extents(space: Space, genotype: Genotype) -> Extents:
    """Returns static extents: the program that is traced is the subnet itself."""
    active = space.active_layers(genotype[None])[0]
    extents: dict[str, Extent | tuple[Extent, ...]] = {
        "depth": tuple(Fixed(int(on)) for on in active)
    }
    for choice in size_choices(space):
        sizes = sizes_of(choice)
        genes = genotype[space.slices[choice.name]]
        picked = tuple(Fixed(sizes[gene]) for gene in genes)
        extents[choice.name] = picked if choice.per_layer else picked[0]
    return extents


def indexed_extents(
    space: Space, genotype: Int[Array, " genes"], execution: Execution = "auto"
) -> Extents:
    """Returns traced extents: one program serves every genotype.

    Args:
        space: The search space.
        genotype: Which subnet.
        execution: How operations run on them; see `kernels.dispatch`.
    """
    extents: dict[str, Extent | tuple[Extent, ...]] = {
        "depth": _gates(space, genotype, execution)
    }
    for choice in size_choices(space):
        where = space.slices[choice.name]
        sizes = sizes_of(choice)
        picked = tuple(
            Indexed(genotype[gene], sizes, execution)
            for gene in range(where.start, where.stop)
        )
        extents[choice.name] = picked if choice.per_layer else picked[0]
    return extents


def mixed_extents(space: Space, probabilities: Mapping[str, Array]) -> Extents:
    """Returns mixtures of all subnets at once, for architecture search by gradient.

    Depth is mixed by its rule. ``prefix``: the outputs after each number of layers are
    averaged (the code of TangleNAS). ``spaced``: a layer's gate is on with the summed
    probability of the depths that run it. ``free``: layers decide independently, so the
    allowed counts are left to the search. A soft gate averages what the layer gives
    with what it was given.

    Args:
        space: The search space.
        probabilities: By choice, of shape ``(choices,)``, or ``(layers, choices)`` if
            the choice is per layer. Those of ``depth`` are over its values; under the
            ``free`` rule of shape ``(layers, 2)``, to skip and to run.

    Raises:
        ValueError: If a choice is unknown or missing, or a shape is not that.
    """
    _require_shapes(space, probabilities)
    extents: dict[str, Extent | tuple[Extent, ...]] = {
        "depth": _mixed_depth(space, probabilities)
    }
    for choice in size_choices(space):
        sizes, rows = sizes_of(choice), probabilities[choice.name]
        extents[choice.name] = (
            tuple(Mixed(row, sizes, choice.name) for row in rows)
            if choice.per_layer
            else Mixed(rows, sizes, choice.name)
        )
    return extents


def at_layer(extents: Extents, layer: int) -> LayerExtents:
    """Returns what one stored layer sees: a single extent for each name.

    Where depth is one mixture for all layers, it is not for a layer to skip itself.
    """
    seen = {
        name: extent[layer] if isinstance(extent, tuple) else extent
        for name, extent in extents.items()
    }
    return seen if isinstance(extents["depth"], tuple) else {**seen, "depth": Fixed(1)}


def outside_layers(extents: Extents) -> LayerExtents:
    """Returns what is seen outside the stack of layers, where everything runs."""
    shared = {n: e for n, e in extents.items() if not isinstance(e, tuple)}
    return {**shared, "depth": Fixed(1)}


def extent_of(dimension: StoredDimension, extents: LayerExtents) -> Extent:
    """Returns the extent of a layer's dimension, which is elastic or a plain size.

    Raises:
        KeyError: If the dimension is a choice that the space does not have.
    """
    if isinstance(dimension, int):
        return Fixed(dimension)
    if isinstance(dimension, Groups):
        return resized(extent_of(dimension.of, extents), dimension.count)
    if isinstance(dimension, Scaled):
        base, factor = (
            extent_of(part, extents) for part in (dimension.base, dimension.factor)
        )
        return resized(scaled(base, factor), lambda size: size // dimension.divisor)
    if dimension.name not in extents:
        raise KeyError(f"no extent {dimension.name!r}; there are {list(extents)}")
    return extents[dimension.name]


def full_size(dimension: StoredDimension) -> int:
    """Returns the stored size of a dimension.

    Raises:
        TypeError: If the choice is not one of integers.
    """
    if isinstance(dimension, Groups):
        return dimension.count(full_size(dimension.of))
    if isinstance(dimension, Scaled):
        largest = full_size(dimension.base) * full_size(dimension.factor)
        return largest // dimension.divisor
    return sizes_of(dimension)[-1]


def size_choices(space: Space) -> list[Choice]:
    """Returns the choices that are sizes: those of integers."""
    return [c for c in space.choices if type(c.values[0]) is int]


def sizes_of(dimension: Choice | int) -> tuple[int, ...]:
    """Returns the sizes that a dimension may have.

    Raises:
        TypeError: If the choice is not one of integers.
    """
    if isinstance(dimension, int):
        return (dimension,)
    sizes = tuple(size for size in dimension.values if type(size) is int)
    if len(sizes) < len(dimension.values):
        raise TypeError(f"choice {dimension.name!r} is not a size: {dimension.values}")
    return sizes


def _require_shapes(space: Space, probabilities: Mapping[str, Array]) -> None:
    legal = {
        choice.name: (space.layers,) * choice.per_layer + (len(choice.values),)
        for choice in space.choices
    }
    required = {choice.name for choice in size_choices(space)}
    if space.depth is not None:
        counts = (len(space.depth.values),)
        legal["depth"] = (space.layers, len(GATE)) if space.free else counts
        required.add("depth")
    if unknown := sorted(probabilities.keys() - legal.keys()):
        raise ValueError(f"no choice {unknown[0]!r}; there are {list(legal)}")
    if missing := sorted(required - probabilities.keys()):
        raise ValueError(f"no probabilities of {missing}; every size needs them")
    for name, given in probabilities.items():
        if given.shape != legal[name]:
            raise ValueError(
                f"probabilities of {name!r} have shape {given.shape}, "
                f"expected {legal[name]}"
            )


def _mixed_depth(
    space: Space, probabilities: Mapping[str, Array]
) -> Extent | tuple[Extent, ...]:
    if space.depth is None:
        return tuple(Fixed(1) for _ in range(space.layers))
    weights = probabilities["depth"]
    if space.depth.rule == "prefix":
        return Mixed(weights, space.depth.values, "depth")
    if not space.free:
        kept = space.depth.kept(space.layers)[..., None]
        runs = np.concatenate([~kept, kept], axis=-1).astype(weights.dtype)
        weights = jnp.sum(weights[:, None, None] * runs, axis=0)
    return tuple(Mixed(row, GATE, "depth") for row in weights)


def _gates(
    space: Space, genotype: Int[Array, " genes"], execution: Execution
) -> tuple[Extent, ...]:
    if space.depth is None:
        return tuple(Fixed(1) for _ in range(space.layers))
    if space.depth.rule == "free":
        running = genotype[: space.layers]
    else:
        table = space.depth.kept(space.layers).astype(np.int32)
        running = jnp.asarray(table)[genotype[0]]
    return tuple(
        Indexed(running[layer], GATE, execution) for layer in range(space.layers)
    )
