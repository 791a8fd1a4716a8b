"""Between genotypes and architectures."""

import numpy as np

from search.space.architecture import Architecture
from search.space.choice import Value
from search.space.layout import DepthGenes, Genotype, Layout


def decode(layout: Layout, genotype: Genotype) -> Architecture:
    """Returns the architecture of a genotype; genes that do not matter are ignored.

    Raises:
        ValueError: If the genotype has the wrong length or an illegal index.
    """
    layout.require_legal(genotype)
    active = layout.active_layers(genotype[None])[0]
    layers = tuple(int(layer) for layer in np.flatnonzero(active))
    shared: list[tuple[str, Value]] = []
    per_layer: list[tuple[str, tuple[Value, ...]]] = []
    for choice in layout.choices:
        genes = genotype[layout.slices[choice.name]]
        if choice.per_layer:
            kept = tuple(choice.values[genes[layer]] for layer in layers)
            per_layer.append((choice.name, kept))
        else:
            shared.append((choice.name, choice.values[genes[0]]))
    return Architecture(layers, tuple(shared), tuple(per_layer))


def encode(layout: Layout, architecture: Architecture) -> Genotype:
    """Returns the canonical genotype of an architecture.

    Raises:
        ValueError: If the layout cannot express it, saying which part.
    """
    genotype = np.zeros(layout.genes, np.int32)
    genotype[: layout.depth_genes] = _depth(layout, architecture.layers)
    assigned = dict((*architecture.shared, *architecture.per_layer))
    if set(assigned) != set(layout.slices):
        raise ValueError(
            f"architecture assigns {sorted(assigned)}, "
            f"the space has {sorted(layout.slices)}"
        )
    for choice in layout.choices:
        where = layout.slices[choice.name]
        value = assigned[choice.name]
        if not choice.per_layer:
            genotype[where] = choice.index(value)
            continue
        if not isinstance(value, tuple) or len(value) != len(architecture.layers):
            raise ValueError(
                f"{choice.name!r} is per layer: give {len(architecture.layers)} "
                f"values, one for each layer that runs, not {value!r}"
            )
        for layer, item in zip(architecture.layers, value, strict=True):
            genotype[where.start + layer] = choice.index(item)
    return genotype


def _depth(layout: Layout, layers: tuple[int, ...]) -> DepthGenes:
    """Returns the depth genes that run the given layers."""
    legal = range(layout.layers)
    if not set(layers) <= set(legal) or list(layers) != sorted(set(layers)):
        raise ValueError(
            f"layers {layers} are not ascending indices in 0..{layout.layers - 1}"
        )
    running = np.isin(legal, layers)
    if layout.depth is None:
        if not running.all():
            raise ValueError(f"depth is fixed at {layout.layers}, got layers {layers}")
        return np.zeros(0, np.int32)
    if layout.free:
        if len(layers) not in layout.depth.values:
            raise ValueError(f"depth {len(layers)} is not in {layout.depth.values}")
        return running.astype(np.int32)
    match = (layout.depth.kept(layout.layers) == running).all(1)
    if not match.any():
        raise ValueError(
            f"layers {layers} do not follow the {layout.depth.rule!r} rule "
            f"for depths {layout.depth.values}"
        )
    return np.asarray([np.argmax(match)], np.int32)
