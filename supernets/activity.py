"""Which weights a step trains; the others stand still.

A gradient of zero is not "no update" in Optax: momentum and decay still move a weight
that no subnet of the step used, where PyTorch's optimisers skip one whose gradient is
``None``. Ten such steps of AdamW move it by about 4.35 learning rates.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool

from kernels.extents import prefix_mask
from supernets.dimensions import Stored, stored_weights
from supernets.lowering import Extents, extent_of, full_size
from supernets.moments import of_weights
from supernets.weights import Params


def active_entries(supernet: nnx.Module, extents: Extents) -> Params:
    """Returns, in the structure of the parameters, which entries a subnet uses.

    A norm counts with what reads it: in a skipped sub-layer it is idle.

    Args:
        supernet: The supernet; it may have shapes in place of parameters.
        extents: Which subnet.

    Raises:
        ValueError: If a parameter belongs to no elastic layer.
    """
    masks = {stored.path: _mask(stored, extents) for stored in stored_weights(supernet)}
    paths = nnx.to_flat_state(nnx.state(supernet, nnx.Param))
    if unknown := [path for path, _ in paths if path not in masks]:
        raise ValueError(
            f"no layer says which dimensions {unknown[0]} follows; give its layer a "
            "method `dimensions` (see supernets.dimensions)"
        )
    return nnx.from_flat_state(
        (path, variable.replace(masks[path])) for path, variable in paths
    )


def _mask(stored: Stored, extents: Extents) -> Bool[Array, "..."]:
    seen = stored.seen(extents)
    shape = tuple(full_size(dimension) for dimension in stored.dimensions)
    # One entry tells whether the layer runs, and whether something reads the weight.
    mask = jnp.ones(shape, bool)
    for extent in (seen["depth"], extent_of(stored.read_by, seen)):
        mask &= prefix_mask(extent, 1).astype(bool)[0]
    for axis, dimension in enumerate(stored.dimensions):
        part = prefix_mask(extent_of(dimension, seen), shape[axis]).astype(bool)
        others = [other for other in range(len(shape)) if other != axis]
        mask &= jnp.expand_dims(part, others)
    if stored.rows is None:
        return mask
    used = stored.rows.used(seen)
    return used.reshape(-1, *(1,) * len(shape)) & mask[None]


def update_active(
    optimizer: optax.GradientTransformation,
    gradient: Params,
    active: Params | None,
    params: Params,
    state: optax.OptState,
) -> tuple[Params, optax.OptState]:
    """Returns parameters and the optimiser's state after an update of what is active.

    Args:
        optimizer: Makes the update.
        gradient: Of the step.
        active: Which entries, in the structure of the parameters; all if ``None``.
        params: Before the update.
        state: Of the optimiser.

    Raises:
        ValueError: If the optimiser keeps something of another shape of a weight.
    """
    # Optax adds whole to real numbers, which a program may have forbidden.
    with jax.numpy_dtype_promotion("standard"):
        updates, kept = optimizer.update(gradient, state, params)
    new = jax.tree.map(jnp.add, params, updates), kept
    if active is None:
        return new
    return hold_inactive(optimizer, active, new=new, old=(params, state))


def hold_inactive(
    optimizer: optax.GradientTransformation,
    active: Params,
    *,
    new: tuple[Params, optax.OptState],
    old: tuple[Params, optax.OptState],
) -> tuple[Params, optax.OptState]:
    """Returns the new parameters and moments where active, and the old elsewhere.

    The mean of a row or column of a factored moment counts as active where one of its
    entries is. Counts go on for all: bias corrections and schedules are those of the
    run, where PyTorch counts the updates of each parameter.

    Args:
        optimizer: Whose state it is.
        active: Which entries, in the structure of the parameters.
        new: After the update.
        old: Before it.

    Raises:
        ValueError: If the optimiser keeps something of another shape of a weight.
    """
    touched = of_weights(
        optimizer, new[1], new[0], active, along=jnp.any, otherwise=True
    )
    return jax.tree.map(jnp.where, (active, touched), new, old)
