"""Tensor parallelism: the devices of a mesh axis share the units of an operation.

A subnet is a prefix of the units. If each device held a slice of neighbouring units, a
small subnet would be the work of the first device alone. So units are dealt out like
cards: unit ``u`` is held by device ``u mod T`` of ``T``, at place ``u div T``. A prefix
of ``s`` units, where ``T`` divides ``s``, is then a prefix of ``s / T`` units on every
device, and each runs the same elastic operation as one device alone would, at sizes
that are smaller by ``T``. What all give is summed once, outside the bodies of a switch
(the column- and row-parallel pair of Megatron-LM, Shoeybi 2019, section 3).

It happens where `jax.set_mesh` has set a mesh with an axis of this name, and nowhere
else. Other axes of the mesh are left to the compiler.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array

from kernels.extents import Fixed, resized
from kernels.operation import Call, Tree, prefix

TENSOR = "tensor"
"""Name of the mesh axis whose devices share units."""


def sharing() -> int:
    """Returns how many devices share units where it is called.

    One without a mesh, and also within the part of a device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if TENSOR in mesh.manual_axes:
        return 1
    return mesh.shape.get(TENSOR, 1)


def splits(call: Call) -> bool:
    """Returns whether devices share the work of a call; nobody shares a skipped one."""
    if sharing() == 1 or call.operation.split(call.weights) is None:
        return False
    return not any(isinstance(e, Fixed) and e.size == 0 for e in call.extents)


def run(call: Call, x: Array, alone: Callable[[Call, Array], Array]) -> Array:
    """Runs a call that `splits`, on all devices that share it.

    Args:
        call: Its weights lie as `dealt` has them, in the `Operation.split` of it.
        x: The input, which every device has.
        alone: Runs a call on one device.

    Returns:
        The output, which every device has.
    """
    count, addend = sharing(), call.operation.addend()
    specs = call.operation.split(call.weights)

    def part(x: Array, extents: tuple[Any, ...], weights: Tree) -> Array:
        features, units = extents
        share = resized(units, lambda size: size // count)
        x, weights = _varying(x), jax.tree.map(_as_read, specs, weights)
        y = alone(Call(addend, (features, share), weights), x)
        return jax.lax.psum(_wide(y), TENSOR).astype(y.dtype)

    whole = PartitionSpec()
    y = jax.shard_map(
        part,
        in_specs=(whole, whole, specs),
        out_specs=whole,
        axis_names={TENSOR},
    )(x, call.extents, call.weights)
    if addend is call.operation:
        return y
    return prefix(x, None, y.shape[1]) + y


def refusal() -> str | None:
    """Returns why no kernel that is written for one device can run, if so."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size > 1:
        return f"its kernels run on one device, and the mesh has {mesh.size}"
    return None


def split(weights: Any, axes: Mapping[str, int]) -> Tree:  # noqa: ANN401 - named tuple
    """Returns the `PartitionSpec` of each weight of a named tuple.

    Args:
        weights: Those that are not there are None.
        axes: By name, the axis that holds units; every device has all of the others.
    """

    def specs(name: str, held: Tree) -> Tree:
        spec = spec_of(axes[name]) if name in axes else PartitionSpec()
        structure = jax.tree.structure(held)
        return jax.tree.unflatten(structure, [spec] * structure.num_leaves)

    found = {name: specs(name, held) for name, held in weights._asdict().items()}
    return weights._replace(**found)


def spec_of(axis: int) -> PartitionSpec:
    """Returns the layout of an array with units along an axis."""
    return PartitionSpec(*(None,) * axis, TENSOR)


def dealt(array: Array, axis: int, *, units: int, devices: int) -> Array:
    """Returns an array with the units of each device side by side.

    Args:
        array: In the order of units.
        axis: That holds them, each an equal number of entries.
        units: How many there are, a multiple of ``devices``.
        devices: That share them.
    """
    return _swapped(array, axis, units // devices, devices)


def collected(array: Array, axis: int, *, units: int, devices: int) -> Array:
    """Returns what `dealt` was given."""
    return _swapped(array, axis, devices, units // devices)


def _swapped(array: Array, axis: int, rows: int, columns: int) -> Array:
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    table = array.reshape(*before, rows, columns, -1, *after)
    return table.swapaxes(axis, axis + 1).reshape(array.shape)


def _as_read(spec: PartitionSpec, weights: Tree) -> Tree:
    return weights if TENSOR in spec else jax.tree.map(_varying, weights)


def _varying(leaf: Array) -> Array:
    """Marks what all devices have as read by each for itself.

    Its gradient is then the sum over devices, each of which knows its units' alone.
    """
    return jax.lax.pcast(_wide(leaf), TENSOR, to="varying").astype(leaf.dtype)


def _wide(leaf: Array) -> Array:
    """Returns what is summed over devices in the type in which one sums over units."""
    return leaf.astype(jnp.float32) if jnp.finfo(leaf.dtype).bits < 32 else leaf
