"""Elastic matrix product and bias."""

import dataclasses
import math

from jaxtyping import Array, Float
from typing_extensions import override

from kernels import dispatch, tiles
from kernels.extents import Extent, restrict, restrict_axes
from kernels.operation import Call, Extents, Operation, Sizes, active, prefix, static


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
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = dispatch.run(Call(_Matmul(), (inputs, outputs), weight), rows)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def add_bias(
    x: Float[Array, "*batch outputs"],
    bias: Float[Array, " all_outputs"],
    outputs: Extent,
) -> Float[Array, "*batch outputs"]:
    """Adds the active part of a bias; what is inactive stays zero."""
    active = restrict(bias, outputs, axis=0)
    return x + active.reshape((1,) * (x.ndim - 1) + active.shape).astype(x.dtype)


Weight = Float[Array, "_ _"]


@dataclasses.dataclass(frozen=True)
class _Matmul(Operation):
    @override
    def masked(self, extents: Extents, x: Array, weights: Weight) -> Array:
        masked = restrict_axes(weights, dict(enumerate(extents)))
        return static(self, masked.shape, x, masked)

    @override
    def forward(self, sizes: Sizes, x: Array, weights: Weight) -> tuple[Array, None]:
        return prefix(x, None, sizes[0]) @ active(weights, x, *sizes), None

    @override
    def backward(
        self, sizes: Sizes, x: Array, weights: Weight, saved: None, gradient: Array
    ) -> tuple[Array, Weight]:
        y_grad = prefix(gradient, None, sizes[1])
        return y_grad @ active(weights, x, *sizes).T, prefix(
            x, None, sizes[0]
        ).T @ y_grad

    @override
    def tiled(self, extents: Extents, x: Array, weights: Weight) -> Array:
        return tiles.product(x, weights, extents[0], extents[1])

    @override
    def refuses_tiles(self, x: Array, weights: Weight) -> str | None:
        return tiles.refusal(x, weights.shape[0], weights.shape[1])

    @override
    def work(self, sizes: Sizes, x: Array, weights: Weight) -> int:
        return x.shape[0] * math.prod(sizes)
