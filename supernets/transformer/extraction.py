"""Cutting the weights of a subnet out of a supernet made of transformer layers."""

from collections.abc import Mapping
from typing import NamedTuple

from flax import nnx

from search.space import Architecture, Space
from supernets import dimensions
from supernets.layers.quantizers import SUFFIX
from supernets.lowering import fixed_extents
from supernets.quantization.plain_precision import PlainPrecision
from supernets.quantization.plain_weights import stored_weights
from supernets.weights import Weight, flat_weights

QUANTIZERS = f"{SUFFIX}."
"""Between the name of a weight and of what was learned of quantising it."""


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
    for stored in dimensions.stored_weights(supernet):
        part = stored.cut(extents)
        if part is not None:
            name = ".".join(map(str, stored.path))
            cut[name] = weights[name][part]
    return cut


def plain_weights(
    cut: Mapping[str, Weight],
    layers: tuple[int, ...],
    names: Mapping[str, str],
    precision: PlainPrecision | None = None,
) -> dict[str, Weight]:
    """Returns the weights as plain layers name, number, shape and store them.

    Args:
        cut: By their names in the supernet.
        layers: The stored layers that run.
        names: New names of weights outside the layers; others keep theirs.
        precision: How few bits hold matrices; they stay as they are without.
    """
    plain: dict[str, Weight] = {}
    learned: dict[str, dict[str, Weight]] = {}
    for name, weight in cut.items():
        owner, of_quantizers, parameter = name.partition(QUANTIZERS)
        target = _target(owner, layers, names)
        if of_quantizers:
            # Of several ways to quantise a weight, only the subnet's is there.
            field = parameter.rpartition(".")[2]
            learned.setdefault(target, {})[field] = weight
        else:
            plain[target] = _merged(name, weight)
    return plain if precision is None else stored_weights(plain, learned, precision)


def _target(name: str, layers: tuple[int, ...], names: Mapping[str, str]) -> str:
    """Returns what plain layers call a weight."""
    if not name.startswith("blocks."):
        return names.get(name, name)
    _, layer, part, *field = name.split(".")
    target = ".".join(["blocks", str(layers.index(int(layer))), part, *field])
    # Norms, and the scales of activations, are called the same.
    is_matrix = part in ("attention", "feed_forward") and len(field) == 1
    return f"{target}.kernel" if is_matrix else target


def _merged(name: str, weight: Weight) -> Weight:
    """Returns a projection into or out of heads with these in one axis."""
    *_, part, field = name.split(".")
    if part != "attention":
        return weight
    first, _, last = weight.shape
    return weight.reshape((-1, last) if field == "output" else (first, -1))
