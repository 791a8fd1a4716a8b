"""Weights and activations as integers: what is left of quantising after training."""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels.operation import widened
from kernels.quantization.activations import activation_quantizer
from kernels.quantization.fake import weight_quantizer
from kernels.quantization.quantizers import (
    Quantizers,
    check_fit,
    quantizer_at,
    spread_groups,
)
from kernels.quantization.scheme import ActivationScheme, Scheme
from kernels.quantization.widths import Width


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["codes", "scale", "zero_point"],
    meta_fields=["bits", "shift", "group_size"],
)
@dataclasses.dataclass(frozen=True)
class QuantizedMatrix:
    """A weight as codes of few bits.

    Attributes:
        codes: ``int8``, whatever the bits. An entry is ``scale (code - zero_point)``.
        scale: Of each group and channel.
        zero_point: Of each group and channel; ``None`` if it is 0 everywhere.
        bits: Of information in a code.
        shift: Zero bits that a code has behind those (`bitslice`).
        group_size: Inputs that share a scale; all, unless given.
    """

    codes: Int[Array, "inputs outputs"]
    scale: Float[Array, "groups channels"]
    zero_point: Int[Array, "groups channels"] | None
    bits: int
    shift: int = 0
    group_size: int | None = None


class QuantizedActivations(NamedTuple):
    """Activations as codes of few bits.

    Attributes:
        codes: ``int8``; those that count from 0 are shifted by half their range.
        scale: An activation is ``scale (code - zero_point)``.
        zero_point: See there.
    """

    codes: Int[Array, "*batch features"]
    scale: Float[Array, ""]
    zero_point: Int[Array, ""]


def quantize(
    weight: Float[Array, "inputs outputs"],
    bits: int,
    quantizers: Quantizers,
    scheme: Scheme,
) -> QuantizedMatrix:
    """Returns the codes of a weight: they stand for what `fake_quantize` returns.

    Args:
        weight: Full size, or a subnet's with the quantisers of its prefix
            (`quantizers.cut_quantizers`): the codes are the prefix of the codes.
        bits: Below 16.
        quantizers: Of the weight.
        scheme: How it is quantised.

    Raises:
        ValueError: If quantisers do not fit, or there are none of that width.
    """
    shape = scheme.cut_shape(*weight.shape)
    check_fit(quantizers, scheme, len(scheme.widths), shape)
    width = Width((bits,))
    of_groups = quantizer_at(quantizers, width, scheme, scheme.sharing(*weight.shape))
    quantizer = weight_quantizer(weight, quantizers, width, scheme)
    zero_point = of_groups.zero_point
    return QuantizedMatrix(
        quantizer.coded(quantizer.steps(widened(weight))).astype(jnp.int8),
        of_groups.scale,
        None if zero_point is None else zero_point.astype(jnp.int8),
        bits,
        group_size=scheme.group_size,
    )


def dequantize(matrix: QuantizedMatrix) -> Float[Array, "inputs outputs"]:
    """Returns the numbers that the codes of a weight stand for."""

    def entries(array: Array) -> Array:
        spread = array.astype(matrix.scale.dtype)
        return spread_groups(spread, matrix.codes.shape[0], matrix.group_size)

    steps = matrix.codes.astype(matrix.scale.dtype)
    if matrix.zero_point is not None:
        steps = steps - entries(matrix.zero_point)
    return entries(matrix.scale) * steps


def quantize_activations(
    x: Float[Array, "*batch features"],
    bits: int,
    quantizers: Quantizers,
    scheme: ActivationScheme,
) -> QuantizedActivations:
    """Returns the codes of activations: see `activations.fake_quantize_activations`.

    Args:
        x: Activations.
        bits: Below 16.
        quantizers: Of them.
        scheme: How they are quantised.

    Raises:
        ValueError: If quantisers do not fit, or there are none of that width.
    """
    check_fit(quantizers, scheme, len(scheme.widths), (1, 1))
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    features = x.shape[-1]
    found = activation_quantizer(rows, quantizers, Width((bits,)), scheme, features)
    # Codes that count from 0 do not fit into int8 where they have 8 bits.
    offset = 0 if scheme.signed else 1 << (bits - 1)
    codes = found.coded(found.steps(widened(rows))) - offset
    zero_point = jnp.zeros((1, 1)) if found.zero_point is None else found.zero_point
    return QuantizedActivations(
        codes.astype(jnp.int8).reshape(x.shape),
        found.scale[0, 0],
        zero_point[0, 0].astype(jnp.int32) - offset,
    )
