"""Where the state and the batches of a training lie on the devices of a mesh.

A weight is spread over the fsdp axis along its largest axis that this divides; moments
and averages of a weight lie as it does, and what belongs to no weight is everywhere.
Where devices share units (`kernels.parallel`), these are stored in the order in which
they were dealt out, which only a training step sees. Whatever else reads a state, as
checkpoints, sorting, validation and extraction do, reads what `Layout.collect` gives,
in the order that one device has: so a run can go on with other devices.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from kernels.parallel import collected, dealt, spec_of
from supernets.dimensions import Path, Stored, stored_weights
from supernets.losses.loss import Batch
from supernets.lowering import (
    Groups,
    Scaled,
    StoredDimension,
    full_size,
    sizes_of,
)
from supernets.sharding.spec import Parallel
from supernets.weights import Weight

EXAMPLES = PartitionSpec(("data", "fsdp"))
"""Examples are in order over these devices; those of the tensor axis see the same."""

EVERYWHERE = PartitionSpec()


class Placement(NamedTuple):
    """Where a weight lies.

    Attributes:
        shape: Of the whole weight.
        spec: The mesh axes that each of its axes is spread over.
        axis: The axis of units that devices share; none if they share none.
        units: How many units there are.
    """

    shape: tuple[int, ...]
    spec: PartitionSpec
    axis: int | None = None
    units: int = 1

    @property
    def used(self) -> PartitionSpec:
        """The spec where a step uses the weight, of which devices share units alone."""
        return EVERYWHERE if self.axis is None else spec_of(self.axis)


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The layout of a supernet's training over a mesh.

    Methods take a state, or any tree whose leaves end in the paths of weights, as
    parameters and moments do.

    Attributes:
        mesh: With the axes of `supernets.sharding.spec.AXES`.
        placements: Of each weight, by its path in the supernet.
    """

    mesh: jax.sharding.Mesh
    placements: Mapping[Path, Placement]

    @classmethod
    def of(
        cls,
        parallel: Parallel,
        supernet: nnx.Module,
        devices: Sequence[jax.Device] | None = None,
    ) -> "Layout | None":
        """Returns the layout, or none on one device, which needs none.

        Args:
            parallel: The axes.
            supernet: The supernet; it may have shapes in place of parameters.
            devices: Whose; all that there are, of all processes, if not given.

        Raises:
            ValueError: If the devices do not fit the axes, or cannot share the units of
                a choice.
        """
        mesh = parallel.mesh(devices)
        if mesh.size == 1:
            return None
        return cls(mesh, dict(_placements(supernet, mesh)))

    def shardings(self, tree: PyTree) -> PyTree:
        """Returns the sharding of each leaf of a tree.

        Raises:
            ValueError: If something else is kept of a weight whose units are shared
                than an array of its shape.
        """
        return self._each(self._sharding, tree)

    def place(self, tree: PyTree) -> PyTree:
        """Returns a tree on the mesh, in memory of its own.

        Args:
            tree: In the order of one device, wherever it lies; each process has all of
                it, or it is spread over the same devices.
        """
        return jax.device_put(self._deal(tree), self.shardings(tree))

    def collect(self, tree: PyTree) -> PyTree:
        """Returns a tree in the order of one device, still spread over the mesh.

        It may share memory with what was placed.
        """
        return self._collect(tree) if self._shares else tree

    def replicate(self, tree: PyTree) -> PyTree:
        """Returns a tree in the order of one device, whole on every device."""
        return self._replicate(tree)

    def examples(self, size: int) -> slice:
        """Returns which examples of a batch this process gives to `batch`.

        Args:
            size: Examples in the batch of all processes.

        Raises:
            ValueError: If they do not spread evenly.
        """
        places = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        if size % places:
            raise ValueError(
                f"{size} examples do not spread evenly over the {places} devices that "
                f"have examples of their own (data x fsdp); take a multiple of {places}"
            )
        spread = NamedSharding(self.mesh, EXAMPLES)
        rows = [
            part.indices(size)
            for index in spread.addressable_devices_indices_map((size,)).values()
            for part in index or ()
        ]
        return slice(min(start for start, *_ in rows), max(stop for _, stop, _ in rows))

    @property
    def part(self) -> tuple[int, int]:
        """Which part of each batch this process loads, from 0, of how many alike."""
        places = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        rows = self.examples(places)
        width = rows.stop - rows.start
        return rows.start // width, places // width

    def batch(self, batch: Batch) -> Batch:
        """Returns the batch of all processes.

        With slots that have examples of their own, nothing is moved between devices
        where each of them has as many for each slot.

        Args:
            batch: The `examples` of this process.

        Raises:
            ValueError: If they do not spread evenly over its devices.
        """
        spread = NamedSharding(self.mesh, EXAMPLES)
        index_of = spread.addressable_devices_indices_map((self.mesh.size,))
        places = len(set(map(repr, index_of.values())))

        def place(part: Weight) -> Array:
            if len(part) % places:
                raise ValueError(
                    f"{len(part)} examples do not spread evenly over the {places} "
                    "devices of this process that have examples of their own (data x "
                    f"fsdp); take a multiple of {places}"
                )
            return jax.make_array_from_process_local_data(spread, np.asarray(part))

        return jax.tree.map(place, batch)

    def used(self, params: PyTree) -> PyTree:
        """Returns the sharding of each weight where a step uses it: not over fsdp."""
        return self._each(self._used, params)

    def gathered(self, params: PyTree) -> PyTree:
        """Returns weights, in a program, as they are used."""
        return jax.lax.with_sharding_constraint(params, self.used(params))

    def scattered(self, tree: PyTree) -> PyTree:
        """Returns a tree, in a program, as it is stored."""
        return jax.lax.with_sharding_constraint(tree, self.shardings(tree))

    def dealt(self, tree: PyTree) -> PyTree:
        """Returns a tree, in a program, with units in the order they are stored in."""
        return self._reordered(dealt, tree)

    @property
    def _shares(self) -> bool:
        return self.mesh.shape["tensor"] > 1

    @functools.cached_property
    def _deal(self) -> Callable[[PyTree], PyTree]:
        def deal(tree: PyTree) -> PyTree:
            # A copy, which a move to devices need not be: steps take over its memory.
            return jax.tree.map(jnp.copy, self.dealt(tree))

        return jax.jit(deal)

    @functools.cached_property
    def _collect(self) -> Callable[[PyTree], PyTree]:
        def collect(tree: PyTree) -> PyTree:
            return self.scattered(self._reordered(collected, tree))

        return jax.jit(collect)

    @functools.cached_property
    def _replicate(self) -> Callable[[PyTree], PyTree]:
        everywhere = NamedSharding(self.mesh, EVERYWHERE)
        reorder = functools.partial(self._reordered, collected)
        return jax.jit(reorder, out_shardings=everywhere)

    def _reordered(self, order: Callable[..., Array], tree: PyTree) -> PyTree:
        devices = self.mesh.shape["tensor"]

        def reorder(leaf: Array, placement: Placement | None) -> Array:
            if placement is None or placement.axis is None or devices == 1:
                return leaf
            return order(leaf, placement.axis, units=placement.units, devices=devices)

        return self._each(reorder, tree)

    def _sharding(self, _: PyTree, placement: Placement | None) -> NamedSharding:
        spec = EVERYWHERE if placement is None else placement.spec
        return NamedSharding(self.mesh, spec)

    def _used(self, _: PyTree, placement: Placement | None) -> NamedSharding:
        spec = EVERYWHERE if placement is None else placement.used
        return NamedSharding(self.mesh, spec)

    def _each(self, function: Callable[..., PyTree], tree: PyTree) -> PyTree:
        """Maps over leaves with the placement of the weight that each belongs to."""

        def apply(path: tuple[object, ...], leaf: PyTree) -> PyTree:
            return function(leaf, self._placement(path, leaf))

        return jax.tree_util.tree_map_with_path(apply, tree)

    def _placement(
        self, path: tuple[object, ...], leaf: Weight | jax.ShapeDtypeStruct
    ) -> Placement | None:
        names = _names(path)
        found = (self.placements.get(names[start:]) for start in range(len(names)))
        placement = next(filter(None, found), None)
        if placement is None or leaf.shape == placement.shape:
            return placement
        if placement.axis is None:
            return None
        raise ValueError(
            f"{jax.tree_util.keystr(path)} has shape {leaf.shape}, but its weight, "
            f"whose units devices share, has {placement.shape}; use an optimiser with "
            "moments as its weights are, as AdamW, or let tensor be 1"
        )


def _placements(
    supernet: nnx.Module, mesh: jax.sharding.Mesh
) -> Iterator[tuple[Path, Placement]]:
    weights = list(stored_weights(supernet))
    owners: dict[Path, list[int]] = {}
    for stored in weights:
        if stored.unit_axis is not None:
            size = full_size(stored.dimensions[stored.unit_axis])
            owners.setdefault(stored.path[:-1], []).append(size)
    for stored in weights:
        shape = stored.shape
        axis = stored.unit_axis if mesh.shape["tensor"] > 1 else None
        if stored.rows is not None and mesh.shape["tensor"] > 1:
            raise ValueError(
                "devices of the tensor axis cannot share units of quantised weights, "
                "whose scales belong to them: let tensor be 1 and take more data or "
                "fsdp devices"
            )
        units = 1
        if axis is not None:
            # Query heads go with the key-value head that they share.
            units = math.gcd(*owners[stored.path[:-1]])
            _require_shared(stored, axis, units, mesh.shape["tensor"])
        spec = _spec(shape, axis, mesh)
        yield stored.path, Placement(shape, spec, axis, units)


def _spec(
    shape: tuple[int, ...], axis: int | None, mesh: jax.sharding.Mesh
) -> PartitionSpec:
    """Returns what each axis is spread over: units, and the largest of what is left."""
    names: list[tuple[str, ...]] = [()] * len(shape)
    left = list(shape)
    if axis is not None:
        names[axis], left[axis] = ("tensor",), shape[axis] // mesh.shape["tensor"]
    parts = mesh.shape["fsdp"]
    divided = [number for number, size in enumerate(left) if size % parts == 0]
    if parts > 1 and divided:
        names[max(divided, key=left.__getitem__)] += ("fsdp",)
    while names and not names[-1]:
        names.pop()
    return PartitionSpec(
        *(name[0] if len(name) == 1 else name or None for name in names)
    )


def _require_shared(stored: Stored, axis: int, units: int, devices: int) -> None:
    """Refuses sizes that do not give every device as many units.

    Raises:
        ValueError: If there are such.
    """
    dimension = stored.dimensions[axis]
    multiple = devices * full_size(dimension) // units
    name, sizes = _told(dimension)
    if wrong := [size for size in sizes if size % multiple]:
        raise ValueError(
            f"{devices} devices of the tensor axis cannot share {name} {wrong} evenly; "
            f"let every choice be a multiple of {multiple}, or tensor a number that "
            f"divides them, got {sizes}"
        )


def _told(dimension: StoredDimension) -> tuple[str, tuple[int, ...]]:
    """Returns the name of a dimension and its sizes."""
    if isinstance(dimension, Groups):
        name, sizes = _told(dimension.of)
        return f"groups of {name}", tuple(map(dimension.count, sizes))
    if isinstance(dimension, Scaled):
        (base, bases), (factor, factors) = (
            _told(dimension.base),
            _told(dimension.factor),
        )
        sizes = {b * f // dimension.divisor for b in bases for f in factors}
        return f"{base} x {factor} / {dimension.divisor}", tuple(sorted(sizes))
    name = str(dimension) if isinstance(dimension, int) else dimension.name
    return name, sizes_of(dimension)


def _names(path: tuple[object, ...]) -> Path:
    """Returns the keys of a path in a tree; a variable's value is the variable."""
    names = tuple(getattr(key, "key", getattr(key, "idx", None)) for key in path)
    attribute = jax.tree_util.GetAttrKey("value")
    return names[:-1] if path and path[-1] == attribute else names
