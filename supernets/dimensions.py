"""Which elastic dimension each axis of each stored weight follows.

Layers declare it in `dimensions`; masks of what is active, the order of channels by
importance and the layout over devices are all read from it.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from flax import nnx

from supernets.lowering import (
    Dimension,
    Extents,
    LayerExtents,
    at_layer,
    outside_layers,
)

Path = tuple[Hashable, ...]


@runtime_checkable
class Elastic(Protocol):
    """A layer that owns weights."""

    def dimensions(self) -> Mapping[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis, by the weight's attribute name."""
        ...


@runtime_checkable
class Shareable(Protocol):
    """A layer whose work devices may share; its operation splits."""

    def unit_axes(self) -> Mapping[str, int]:
        """Returns the axis of units, by the weight's attribute name."""
        ...


class Stored(NamedTuple):
    """What is known of one weight.

    Attributes:
        path: Where it is in the module, as ``("blocks", 0, "attention", "query")``.
        layer: The stored layer it belongs to; ``None`` outside the stack.
        dimensions: One for each axis.
        read_by: The size of what reads it: where that is 0, the weight is not used.
        unit_axis: The axis of units that devices may share; see `kernels.parallel`.
    """

    path: Path
    layer: int | None
    dimensions: tuple[Dimension, ...]
    read_by: Dimension = 1
    unit_axis: int | None = None

    def seen(self, extents: Extents) -> LayerExtents:
        """Returns the extents that the weight's layer sees."""
        return (
            outside_layers(extents)
            if self.layer is None
            else at_layer(extents, self.layer)
        )


def stored_weights(module: nnx.Module) -> Iterator[Stored]:
    """Yields every weight of the elastic layers of a module."""
    for path, node in nnx.iter_graph(module):
        if isinstance(node, Elastic):
            unit_axes = node.unit_axes() if isinstance(node, Shareable) else {}
            layers = [part for part in path if isinstance(part, int)]
            for name, dimensions in node.dimensions().items():
                layer = layers[0] if layers else None
                read_by = getattr(node, "read_by", 1)
                yield Stored(
                    (*path, name), layer, dimensions, read_by, unit_axes.get(name)
                )
