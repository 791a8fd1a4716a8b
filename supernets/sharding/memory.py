"""What a device holds of a state that is spread over many, from shapes alone."""

import math
from typing import NamedTuple

import jax
from jaxtyping import PyTree

from supernets.sharding.layout import Layout
from supernets.training import TrainState


class Memory(NamedTuple):
    """Bytes of weights, of what the optimiser keeps, and of averages.

    Gradients and activations of a step come on top.

    Attributes:
        whole: On one device that has all of it.
        per_device: On each device.
        replicated: Of those per device, what each device has as all others do.
        gathered: Of weights as a step uses them, on each device, beside the state.
    """

    whole: int
    per_device: int
    replicated: int
    gathered: int

    @property
    def replicated_share(self) -> float:
        """Share of the whole that every device holds, 0 to 1."""
        return self.replicated / self.whole


def memory_of(layout: Layout | None, state: TrainState) -> Memory:
    """Returns what a device holds; nothing is allocated.

    Args:
        layout: Where the state lies; none for one device.
        state: It, or its shapes, as `jax.eval_shape` of `initial_state` gives them.

    Raises:
        ValueError: If the layout cannot place the state.
    """
    whole = _bytes(state)
    if layout is None:
        return Memory(whole, whole, whole, 0)
    shardings = layout.shardings(state)
    alike = jax.tree.map(_if_replicated, state, shardings)
    gathers = layout.mesh.shape["fsdp"] > 1
    return Memory(
        whole,
        _bytes(state, shardings),
        _bytes(alike),
        _bytes(state.params, layout.used(state.params)) if gathers else 0,
    )


def _bytes(tree: PyTree, shardings: PyTree = None) -> int:
    """Returns the bytes of arrays, or of the part of each that a device has."""
    leaves = jax.tree.leaves(tree)
    shapes = [leaf.shape for leaf in leaves]
    if shardings is not None:
        places = jax.tree.leaves(shardings)
        pairs = zip(places, shapes, strict=True)
        shapes = [place.shard_shape(shape) for place, shape in pairs]
    sizes = zip(leaves, shapes, strict=True)
    return sum(leaf.dtype.itemsize * math.prod(shape) for leaf, shape in sizes)


def _if_replicated(
    leaf: jax.Array | jax.ShapeDtypeStruct, place: jax.sharding.NamedSharding
) -> jax.Array | jax.ShapeDtypeStruct | None:
    return leaf if place.is_fully_replicated else None
