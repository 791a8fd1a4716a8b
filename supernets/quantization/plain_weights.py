"""From the weights of a subnet, and what was learned of quantising them, to codes."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.quantization.bitslice import slice_matrix
from kernels.quantization.integers import QuantizedMatrix, quantize
from kernels.quantization.scheme import Scheme
from kernels.quantization.storage import pack_matrix
from supernets.layers.quantizers import learned_quantizers
from supernets.quantization.plain_precision import PlainPrecision, WeightFormat
from supernets.weights import Weight

HASTY = {"xla_backend_optimization_level": 0}
"""Compiler options for programs that run but a few times."""


def stored_weights(
    weights: Mapping[str, Weight],
    learned: Mapping[str, Mapping[str, Weight]],
    precision: PlainPrecision,
) -> dict[str, Weight]:
    """Returns the weights of a plain network, with matrices in few bits.

    Args:
        weights: Of a subnet, named as those of float32 layers: matrices are kernels,
            of inputs by outputs. There are the logarithms of the scales of activations.
        learned: Of quantising a kernel, by its name: the parameters of its
            `supernets.layers.quantizers.ElasticQuantizers` that the subnet uses.
        precision: How many bits there are.
    """
    stored: dict[str, Weight] = {}
    for name, weight in weights.items():
        owner, _, field = name.rpartition(".")
        if field == "kernel":
            kept = _stored(weight, learned.get(name, {}), _form(owner, precision))
            stored |= {f"{owner}.{parameter}": kept[parameter] for parameter in kept}
        elif field == "log_scale":
            stored[f"{owner}.scale"] = jnp.exp(jnp.asarray(weight))
        else:
            stored[name] = weight
    return stored


def _form(owner: str, precision: PlainPrecision) -> WeightFormat:
    """Returns how the kernel of a layer with a dotted name is stored."""
    if not owner.startswith("blocks."):
        return precision.outer
    return precision.weights_of(int(owner.split(".")[1]))


def _stored(
    kernel: Weight, learned: Mapping[str, Weight], form: WeightFormat
) -> dict[str, Weight]:
    """Returns the parameters of a `supernets.quantization.plain.StoredMatrix`."""
    if form.scheme is None:
        return {"kernel": jnp.asarray(kernel).astype(jnp.bfloat16)}
    codes, offset = _coded(jnp.asarray(kernel), dict(learned), form.scheme, form)
    packed = pack_matrix(codes)
    kept = {
        "codes": packed.codes,
        "scale": packed.scale,
        # What is added has taken it in.
        "zero_point": packed.zero_point if offset is None else None,
        "offset": offset,
    }
    return {name: array for name, array in kept.items() if array is not None}


@functools.partial(jax.jit, static_argnums=(2, 3), compiler_options=HASTY)
def _coded(
    kernel: Float[Array, "inputs outputs"],
    learned: dict[str, Array],
    scheme: Scheme,
    form: WeightFormat,
) -> tuple[QuantizedMatrix, Float[Array, "groups outputs"] | None]:
    """Returns codes, and what is added to what they stand for."""
    shape = (1, *scheme.cut_shape(*kernel.shape))
    (bits,) = scheme.widths
    zero_point = None if scheme.symmetric else learned["zero_point"].reshape(shape)
    log_scale = learned["log_scale"].reshape(shape)
    found = learned_quantizers(log_scale, zero_point, scheme)
    codes = quantize(kernel, bits, found, scheme)
    if form.shift:
        codes = slice_matrix(codes, form.bits)
    if not form.is_adapted:
        return codes, None
    down, up = learned["adapter_down"], learned["adapter_up"]
    added = jnp.matmul(down, up.reshape(up.shape[0], -1), precision="highest")
    if codes.zero_point is not None:
        added = added - codes.scale * codes.zero_point.astype(codes.scale.dtype)
    return codes, added
