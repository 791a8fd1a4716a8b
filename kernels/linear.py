"""Elastic matrix product and bias."""

from jaxtyping import Array, Float

from kernels.extents import Extent, restrict


def matmul(
    x: Float[Array, "*batch inputs"],
    weight: Float[Array, "all_inputs all_outputs"],
    inputs: Extent,
    outputs: Extent,
) -> Float[Array, "*batch outputs"]:
    """Multiplies by the active rows and columns of a weight.

    Args:
        x: Lives on ``inputs``: sliced to it for `Fixed`, else full size.
        weight: The shared full-size weight.
        inputs: Extent of the rows.
        outputs: Extent of the columns.

    Returns:
        Values that live on ``outputs``.
    """
    return x @ restrict(restrict(weight, inputs, axis=0), outputs, axis=1)


def add_bias(
    x: Float[Array, "*batch outputs"],
    bias: Float[Array, " all_outputs"],
    outputs: Extent,
) -> Float[Array, "*batch outputs"]:
    """Adds the active part of a bias; what is inactive stays zero."""
    active = restrict(bias, outputs, axis=0)
    return x + active.reshape((1,) * (x.ndim - 1) + active.shape)
