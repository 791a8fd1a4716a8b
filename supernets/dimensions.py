"""Which elastic dimension each axis of each stored weight follows.

Layers declare it in `dimensions`; masks of what is active, the order of channels by
importance and the layout over devices are all read from it.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from flax import nnx
from jaxtyping import Array, Bool

from kernels.extents import largest_size
from supernets.lowering import (
    Dimension,
    Extents,
    LayerExtents,
    StoredDimension,
    at_layer,
    extent_of,
    full_size,
    outside_layers,
)

Path = tuple[Hashable, ...]


@runtime_checkable
class Elastic(Protocol):
    """A layer that owns weights."""

    def dimensions(self) -> Mapping[str, tuple[StoredDimension, ...]]:
        """Returns the dimension of each axis, by the weight's attribute name."""
        ...


@runtime_checkable
class Shareable(Protocol):
    """A layer whose work devices may share; its operation splits."""

    def unit_axes(self) -> Mapping[str, int]:
        """Returns the axis of units, by the weight's attribute name."""
        ...


@runtime_checkable
class Rows(Protocol):
    """Rows of parameters, of which a subnet uses those of its bit-width alone."""

    @property
    def count(self) -> int:
        """How many are stored."""
        ...

    def used(self, extents: LayerExtents) -> Bool[Array, " rows"]:
        """Returns which ones a subnet uses."""
        ...

    def picked(self, extents: LayerExtents) -> int | None:
        """Returns the one that a subnet of known sizes uses, if any."""
        ...


@runtime_checkable
class Rowed(Protocol):
    """A layer whose weights have rows before their other axes."""

    def rows(self) -> Rows:
        """Returns what tells which of them is used."""
        ...


class Stored(NamedTuple):
    """What is known of one weight.

    Attributes:
        path: Where it is in the module, as ``("blocks", 0, "attention", "query")``.
        layer: The stored layer it belongs to; ``None`` outside the stack.
        dimensions: One for each axis, but for that of rows.
        read_by: The size of what reads it: where that is 0, the weight is not used.
        unit_axis: The axis of units that devices may share; see `kernels.parallel`.
        rows: What tells which rows a subnet uses; they are the first axis. ``None`` if
            there are none.
    """

    path: Path
    layer: int | None
    dimensions: tuple[StoredDimension, ...]
    read_by: Dimension = 1
    unit_axis: int | None = None
    rows: Rows | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole weight."""
        sizes = tuple(full_size(dimension) for dimension in self.dimensions)
        return sizes if self.rows is None else (self.rows.count, *sizes)

    def cut(self, extents: Extents) -> tuple[slice | int, ...] | None:
        """Returns where the part of the weight is that a subnet of known sizes uses.

        The axis of rows is not in it. None if the subnet does not use the weight.
        """
        seen = self.seen(extents)
        sizes = [largest_size(extent_of(part, seen)) for part in self.dimensions]
        runs = largest_size(seen["depth"]), largest_size(extent_of(self.read_by, seen))
        if not all((*runs, *sizes)):
            return None
        slices = tuple(slice(size) for size in sizes)
        if self.rows is None:
            return slices
        row = self.rows.picked(seen)
        return None if row is None else (row, *slices)

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
            rows = node.rows() if isinstance(node, Rowed) else None
            layers = [part for part in path if isinstance(part, int)]
            for name, dimensions in node.dimensions().items():
                layer = layers[0] if layers else None
                read_by = getattr(node, "read_by", 1)
                unit_axis = unit_axes.get(name)
                yield Stored((*path, name), layer, dimensions, read_by, unit_axis, rows)
