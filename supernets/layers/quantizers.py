"""What elastic layers learn of quantising their weights.

Scales are stored as logarithms: a step of Adam is about as long for every parameter, so
that steps of a scale are then relative to it (Jain 2019, arXiv 1903.08066, section 3
and appendix B). Zero points are stored as shares of the range of codes, for the same
reason. Both have a row for each bit-width, of which a subnet uses one.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from flax import nnx
from jaxtyping import Array, Float

from kernels.operation import widened
from kernels.quantization.bitslice import bitslice, parent_scheme
from kernels.quantization.calibration import searched_quantizers
from kernels.quantization.fake import Adapters, fake_quantize, half
from kernels.quantization.quantizers import SMALLEST_SCALE, Quantizers
from kernels.quantization.scheme import Scheme
from supernets.layers.quantization import Picked, Quantization, WidthRows
from supernets.lowering import (
    Dimension,
    Groups,
    LayerExtents,
    StoredDimension,
    extent_of,
    full_size,
)

SUFFIX = "_quantizers"
"""What the name of a weight's quantisers has that the weight's has not."""

NORMAL_NUMBERS = 2**16
"""How many of them the first scales are made for."""


class ElasticQuantizers(nnx.Module):
    """Scales, zero points and adapters of one weight.

    A weight is quantised as a matrix, of inputs by outputs.

    Args:
        weight: Its first value.
        quantization: How it is quantised, and in how many bits.
        scheme: Of the quantization's, the one that these are of.
        where: What a subnet has to have picked to use that.
        inputs: Dimensions of its input axes.
        outputs: Dimensions of its output axes.
        read_by: The size of what reads the weight; of size 0 it is not used.
        is_transposed: Whether the weight has its outputs first.
        rngs: Source of the first adapters.

    Raises:
        ValueError: If groups do not divide the inputs.
    """

    def __init__(
        self,
        weight: Float[Array, "..."],
        quantization: Quantization,
        scheme: Scheme | None,
        *,
        where: tuple[Picked, ...] = (),
        inputs: tuple[Dimension, ...],
        outputs: tuple[Dimension, ...],
        read_by: Dimension = 1,
        is_transposed: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self.bits = quantization.weights
        self.where = where
        self.inputs = inputs
        self.outputs = outputs
        self.read_by = read_by
        self.is_transposed = is_transposed
        self.is_nested = quantization.precision.mechanism == "nested"
        if scheme is not None and self.is_nested:
            scheme = parent_scheme(scheme)
        self.scheme = scheme
        self.log_scale = self.zero_point = nnx.data(None)
        self.adapter_down = self.adapter_up = nnx.data(None)
        if scheme is None:
            return
        first = self._drawn(self.matrix(weight), scheme)
        log_scale, zero_point = self._stored(first, scheme)
        self.log_scale = nnx.Param(log_scale)
        if zero_point is not None:
            self.zero_point = nnx.Param(zero_point)
        rank = quantization.precision.adapters
        if rank and not isinstance(self.bits, int):
            rows, groups, *channels = self.log_scale.shape
            init = nnx.initializers.normal(stddev=groups**-0.5)
            self.adapter_down = nnx.Param(init(rngs.params(), (rows, groups, rank)))
            self.adapter_up = nnx.Param(jnp.zeros((rows, rank, *channels)))

    def __call__(
        self, weight: Float[Array, "..."], extents: LayerExtents
    ) -> Float[Array, "..."]:
        """Returns the weight as so many bits can hold it, in its own shape."""
        extent = extent_of(self.bits, extents)
        if self.scheme is None or self.log_scale is None:
            return half(weight)
        matrix = self.matrix(weight)
        if self.is_nested:
            found = bitslice(matrix, extent, self.quantizers(), self.scheme)
        else:
            adapters = self._adapters()
            found = fake_quantize(
                matrix, extent, self.quantizers(), self.scheme, adapters
            )
        return self.restored(found, weight.shape)

    def quantizers(self) -> Quantizers:
        """Returns scales and zero points as `kernels.quantization` takes them.

        Raises:
            ValueError: If the weight is never quantised.
        """
        if self.log_scale is None or self.scheme is None:
            raise ValueError("a weight that always has 16 bits has no scales")
        log_scale, zero_point = self.log_scale[...], None
        shape = (*log_scale.shape[:2], -1)
        if self.zero_point is not None:
            zero_point = self.zero_point[...].reshape(shape)
        return learned_quantizers(log_scale.reshape(shape), zero_point, self.scheme)

    def matrix(self, weight: Float[Array, "..."]) -> Float[Array, "inputs outputs"]:
        """Returns the weight as it is quantised."""
        axes = self.inputs, self.outputs
        sizes = [math.prod(map(full_size, dimensions)) for dimensions in axes]
        if self.is_transposed:
            return weight.reshape(sizes[::-1]).T
        return weight.reshape(sizes)

    def restored(
        self, matrix: Float[Array, "inputs outputs"], shape: tuple[int, ...]
    ) -> Float[Array, "..."]:
        """Returns what is a matrix in the shape of the weight."""
        return (matrix.T if self.is_transposed else matrix).reshape(shape)

    def calibrate(self, weight: Float[Array, "..."]) -> None:
        """Sets scales and zero points to those of the least error for a weight."""
        if self.log_scale is None or self.scheme is None:
            return
        found = searched_quantizers(self.matrix(weight), self.scheme)
        log_scale, zero_point = self._stored(found, self.scheme)
        self.log_scale[...] = log_scale
        if self.zero_point is not None and zero_point is not None:
            self.zero_point[...] = zero_point

    def rows(self) -> WidthRows:
        """Returns what tells which rows a subnet uses."""
        widths = () if self.scheme is None else self.scheme.widths
        return WidthRows(self.bits, widths, self.is_nested, self.where)

    def dimensions(self) -> dict[str, tuple[StoredDimension, ...]]:
        """Returns the dimension of each axis of each weight, after that of rows."""
        scheme = self.scheme
        if scheme is None:
            return {}
        groups = self._groups()
        channels = self.outputs if scheme.granularity != "tensor" else (1,)
        found: dict[str, tuple[StoredDimension, ...]] = {
            "log_scale": (groups, *channels)
        }
        if self.zero_point is not None:
            found["zero_point"] = (groups, *channels)
        if self.adapter_down is not None:
            rank = self.adapter_down.shape[2]
            found |= {"adapter_down": (groups, rank), "adapter_up": (rank, *channels)}
        return found

    def _groups(self) -> StoredDimension:
        size = self.scheme.group_size if self.scheme else None
        if size is None:
            return 1
        first, *others = self.inputs
        return Groups(first, math.prod(map(full_size, others)), size)

    def _adapters(self) -> Adapters | None:
        if self.adapter_down is None or self.adapter_up is None:
            return None
        up = self.adapter_up[...]
        return Adapters(self.adapter_down[...], up.reshape(*up.shape[:2], -1))

    def _drawn(self, matrix: Array, scheme: Scheme) -> Quantizers:
        """Returns what is best for normally distributed weights of their size."""
        inputs, outputs = matrix.shape
        groups, channels = scheme.scale_shape(inputs, outputs)
        squares = jnp.square(matrix).reshape(groups, -1, channels)
        size = jnp.sqrt(jnp.mean(squares, axis=1))
        # One that is all zero may yet be trained: as if it were drawn as usual.
        size = jnp.where(size > 0, size, inputs**-0.5)
        steps = jnp.asarray(normal_steps(scheme.widths))
        scale = steps[:, None, None] * size[None]
        return Quantizers(scale, None if scheme.symmetric else jnp.zeros_like(scale))

    def _stored(self, found: Quantizers, scheme: Scheme) -> tuple[Array, Array | None]:
        """Returns scales and zero points as they are stored."""
        channels = [full_size(part) for part in self.outputs]
        if scheme.granularity == "tensor":
            channels = [1]
        shape = (*found.scale.shape[:2], *channels)
        log_scale = jnp.log(jnp.maximum(found.scale, SMALLEST_SCALE)).reshape(shape)
        if found.zero_point is None:
            return log_scale, None
        return log_scale, (found.zero_point / _codes(scheme)).reshape(shape)


def learned_quantizers(
    log_scale: Float[Array, "widths groups channels"],
    zero_point: Float[Array, "widths groups channels"] | None,
    scheme: Scheme,
) -> Quantizers:
    """Returns scales and zero points as kernels take them, of what is learned."""
    scale = scales(widened(log_scale))
    if zero_point is None:
        return Quantizers(scale)
    return Quantizers(scale, widened(zero_point) * _codes(scheme).astype(scale.dtype))


@jax.custom_vjp
def scales(log_scale: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns scales, of which those that nobody reads have no gradient if NaN."""
    return jnp.exp(log_scale)


def _scales_forward(log_scale: Array) -> tuple[Array, Array]:
    scale = jnp.exp(log_scale)
    return scale, scale


def _scales_backward(scale: Array, gradient: Array) -> tuple[Array]:
    return (jnp.where(gradient == 0, gradient, gradient * scale),)


scales.defvjp(_scales_forward, _scales_backward)


@functools.cache
def normal_steps(widths: tuple[int, ...]) -> tuple[float, ...]:
    """Returns the best scale of each width for numbers with a normal distribution.

    Weights are drawn like that, and what a norm gives is about like that.
    """
    evenly = (np.arange(NORMAL_NUMBERS) + 0.5) / NORMAL_NUMBERS
    normal = scipy.special.ndtri(evenly).astype(np.float32)
    with jax.ensure_compile_time_eval():
        found = searched_quantizers(jnp.asarray(normal)[:, None], Scheme(widths=widths))
    return tuple(np.asarray(found.scale)[:, 0, 0].tolist())


def _codes(scheme: Scheme) -> Float[Array, "widths 1 1"]:
    return jnp.asarray([2.0**bits for bits in scheme.widths])[:, None, None]
