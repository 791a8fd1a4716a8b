"""Cutting the weights of a subnet out of a supernet made of transformer layers."""

from collections.abc import Mapping
from typing import NamedTuple

from flax import nnx

from kernels.extents import largest_size
from search.space import Architecture, Space
from supernets.dimensions import stored_weights
from supernets.lowering import extent_of, fixed_extents
from supernets.weights import Weight, flat_weights


class RunningSizes(NamedTuple):
    """Sizes of the layers that run, one entry for each; 0 where a half is skipped."""

    width: int
    heads: tuple[int, ...]
    ffn: tuple[int, ...]


def running_sizes(space: Space, architecture: Architecture) -> RunningSizes:
    """Returns the sizes of the layers that run.

    Raises:
        ValueError: If the architecture is not a member of the space.
    """
    genotype = space.encode(architecture)[None]
    running = list(architecture.layers)
    heads, ffn = (
        tuple(int(size) for size in space.values(genotype, name)[0, running])
        for name in ("heads", "ffn")
    )
    width = int(space.values(genotype, "width")[0])
    return RunningSizes(width, heads, ffn)


def cut_weights(
    supernet: nnx.Module, space: Space, architecture: Architecture
) -> dict[str, Weight]:
    """Returns the active part of every weight that a subnet uses, by dotted name.

    Raises:
        ValueError: If the architecture is not a member of the space.
    """
    extents = fixed_extents(space, space.encode(architecture))
    weights = flat_weights(supernet)
    cut: dict[str, Weight] = {}
    for stored in stored_weights(supernet):
        seen = stored.seen(extents)
        sizes = [
            largest_size(extent_of(dimension, seen)) for dimension in stored.dimensions
        ]
        used = (
            largest_size(seen["depth"]),
            largest_size(extent_of(stored.read_by, seen)),
        )
        if all((*used, *sizes)):
            name = ".".join(map(str, stored.path))
            cut[name] = weights[name][tuple(slice(size) for size in sizes)]
    return cut


def plain_weights(
    cut: Mapping[str, Weight], layers: tuple[int, ...], names: Mapping[str, str]
) -> dict[str, Weight]:
    """Returns the weights as plain layers name, number and shape them.

    Args:
        cut: By their names in the supernet.
        layers: The stored layers that run.
        names: New names of weights outside the layers; others keep theirs.
    """
    plain: dict[str, Weight] = {}
    for name, weight in cut.items():
        if not name.startswith("blocks."):
            plain[names.get(name, name)] = weight
            continue
        _, layer, part, field = name.split(".")
        target = f"blocks.{layers.index(int(layer))}.{part}.{field}"
        if part in ("attention", "feed_forward"):
            target += ".kernel"
        if part == "attention":
            weight = _merged(weight, into=field != "output")
        plain[target] = weight
    return plain


def _merged(weight: Weight, *, into: bool) -> Weight:
    """Returns a projection into or out of heads with these in one axis."""
    first, _, last = weight.shape
    return weight.reshape((first, -1) if into else (-1, last))
