"""Tiled execution: Pallas kernels that skip the tiles beyond traced sizes.

They run on GPUs and TPUs. With the environment variable ``NAS_PALLAS_INTERPRET`` set
they are interpreted anywhere, which is slow and for debugging.
"""

import os

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels.extents import Extent, Fixed, Indexed, largest_size

INTERPRET = "NAS_PALLAS_INTERPRET"


def interpreted() -> bool | None:
    """Returns what kernels take as ``interpret``."""
    return True if os.environ.get(INTERPRET) else None


def refusal(x: Array, inputs: int, outputs: int) -> str | None:
    """Returns why no kernel multiplies ``x`` by a weight of these sizes here, if so."""
    # Imported where used: Pallas takes longer to import than most programs need it.
    from kernels.pallas import selection

    if interpreted():
        return None
    backend = jax.default_backend()
    return selection.refusal(backend, x.dtype, x.shape[0], inputs, outputs)


def product(
    x: Float[Array, "rows inputs"],
    weight: Float[Array, "all_inputs all_outputs"],
    inputs: Extent,
    outputs: Extent,
) -> Float[Array, "rows outputs"]:
    """Multiplies by the active part of a weight; inactive tiles are not touched.

    Args:
        x: As wide as the largest choice of inputs.
        weight: Full-size weight.
        inputs: `Fixed` or `Indexed` extent of its rows.
        outputs: `Fixed` or `Indexed` extent of its columns.
    """
    from kernels.pallas.prefix_matmul import prefix_matmul

    weight = weight[: largest_size(inputs), : largest_size(outputs)].astype(x.dtype)
    sizes = active_count(inputs), active_count(outputs)
    return prefix_matmul(x, weight, *sizes, interpret=interpreted())


def active_count(extent: Extent) -> int | Int[Array, ""]:
    """Returns the active size, traced for `Indexed`.

    Raises:
        TypeError: If the extent is a mixture, which has no tiles to skip.
    """
    if isinstance(extent, Fixed):
        return extent.size
    if isinstance(extent, Indexed):
        return jnp.asarray(extent.choices, jnp.int32)[extent.index]
    raise TypeError("a mixture has no active size")
