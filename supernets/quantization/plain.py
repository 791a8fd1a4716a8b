"""Layers of a plain network that hold integers, and multiply as these allow."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.quantization.integers import (
    QuantizedActivations,
    QuantizedMatrix,
    dequantize,
    quantize_activations,
)
from kernels.quantization.packing import packed_size
from kernels.quantization.products import integer_matmul
from kernels.quantization.quantizers import Quantizers, spread_groups
from kernels.quantization.scheme import ActivationScheme
from kernels.quantization.storage import PackedMatrix, unpack_matrix
from supernets.quantization.plain_precision import WeightFormat


class StoredMatrix(nnx.Module):
    """A weight as it is stored: packed codes and their scales, or bfloat16 numbers.

    At 16 bits its parameter is ``kernel``. Below that they are ``codes`` (packed),
    ``scale`` and, if codes count from elsewhere than 0, ``zero_point``; in its place
    there is ``offset`` if something is added to what codes stand for.

    Args:
        inputs: Rows of the weight.
        outputs: Columns of it.
        form: How it is stored.
        rngs: Source of the initial codes.
    """

    def __init__(
        self, inputs: int, outputs: int, form: WeightFormat, *, rngs: nnx.Rngs
    ) -> None:
        self.inputs, self.outputs, self.form = inputs, outputs, form
        self.kernel = self.codes = self.scale = nnx.data(None)
        self.zero_point = self.offset = nnx.data(None)
        key, deviation = rngs.params(), inputs**-0.5
        if form.scheme is None:
            normal = jax.random.normal(key, (inputs, outputs), jnp.bfloat16)
            self.kernel = nnx.Param(normal * deviation)
            return
        size = packed_size(inputs * outputs, form.bits)
        self.codes = nnx.Param(jax.random.bits(key, (size,), jnp.uint8))
        shape = form.scheme.cut_shape(inputs, outputs)
        half_range = 1 << (form.bits + form.shift - 1)
        self.scale = nnx.Param(jnp.full(shape, deviation / half_range))
        if form.is_adapted:
            self.offset = nnx.Param(jnp.zeros(shape))
        elif not form.scheme.symmetric:
            self.zero_point = nnx.Param(jnp.zeros(shape, jnp.int8))

    @property
    def group_size(self) -> int | None:
        """Inputs that share a scale; all, unless given."""
        return self.form.scheme.group_size if self.form.scheme else None

    def matrix(self) -> QuantizedMatrix:
        """Returns the codes; what is added to them is not in there.

        Raises:
            ValueError: If there are bfloat16 numbers in their place.
        """
        if self.codes is None or self.scale is None:
            raise ValueError(f"a weight of {self.form.bits} bits has no codes")
        packed = PackedMatrix(
            self.codes[...],
            self.scale[...],
            None if self.zero_point is None else self.zero_point[...],
            (self.inputs, self.outputs),
            self.form.bits,
            self.form.shift,
            self.group_size,
        )
        return unpack_matrix(packed)

    def entries(self) -> Float[Array, "inputs outputs"]:
        """Returns the numbers that are stored."""
        if self.kernel is not None:
            return self.kernel[...].astype(jnp.float32)
        numbers = dequantize(self.matrix())
        if self.offset is None:
            return numbers
        return numbers + spread_groups(self.offset[...], self.inputs, self.group_size)


class QuantizedLinear(StoredMatrix):
    """A linear map by a stored weight, of activations or of their codes.

    Codes are multiplied by codes in integers; otherwise the weight is made of floats
    when it is used.

    Args:
        inputs: Size of what it reads.
        outputs: Size of what it gives.
        form: How the weight is stored.
        use_bias: Whether it adds a bias.
        rngs: Source of the initial codes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        form: WeightFormat,
        *,
        use_bias: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(inputs, outputs, form, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(outputs)) if use_bias else nnx.data(None)

    def __call__(
        self, x: Float[Array, "*batch inputs"] | QuantizedActivations
    ) -> Float[Array, "*batch outputs"]:
        """Applies the map."""
        y = self._product(x)
        if self.bias is None:
            return y
        return y + jnp.broadcast_to(self.bias[...], y.shape)

    def _product(
        self, x: Float[Array, "*batch inputs"] | QuantizedActivations
    ) -> Float[Array, "*batch outputs"]:
        if not isinstance(x, QuantizedActivations):
            return x @ self.entries()
        if self.kernel is not None:
            return numbers(x) @ self.entries()
        y = integer_matmul(x, self.matrix())
        if self.offset is None:
            return y
        sums = x.scale * self._sums(x).astype(jnp.float32)
        return y + jnp.matmul(sums, self.offset[...], precision="highest")

    def _sums(self, x: QuantizedActivations) -> Int[Array, "*batch groups"]:
        """Returns the sum over each group of inputs, in steps of activations."""
        steps = x.codes.astype(jnp.int32) - x.zero_point
        size = self.group_size or self.inputs
        groups = -(-self.inputs // size)
        batch = x.codes.shape[:-1]
        missing = groups * size - self.inputs
        padded = jnp.pad(steps, [(0, 0)] * len(batch) + [(0, missing)])
        return jnp.sum(padded.reshape(*batch, groups, size), axis=-1)


class QuantizedEmbedding(StoredMatrix):
    """A stored table of token vectors, usable as a tied output head.

    Its weight is the table as a head reads it: a token is one of the outputs.

    Args:
        vocabulary: Number of tokens.
        features: Size of the vectors.
        form: How the table is stored.
        rngs: Source of the initial codes.
    """

    def __init__(
        self, vocabulary: int, features: int, form: WeightFormat, *, rngs: nnx.Rngs
    ) -> None:
        super().__init__(features, vocabulary, form, rngs=rngs)

    def __call__(self, tokens: Int[Array, "*batch"]) -> Float[Array, "*batch features"]:
        """Looks tokens up."""
        return self.entries().T[tokens]

    def attend(
        self, x: Float[Array, "*batch features"]
    ) -> Float[Array, "*batch vocabulary"]:
        """Scores every token."""
        return x @ self.entries()


class PlainRounding(nnx.Module):
    """What makes codes of activations, with one scale.

    Args:
        bits: Of a code.

    Attributes:
        gives_codes: Whether it gives codes, or the numbers that they stand for.
    """

    def __init__(self, bits: int) -> None:
        self.scheme = ActivationScheme(widths=(bits,))
        self.gives_codes = True
        # Activations behind a norm lie within about 4.
        self.scale = nnx.Param(jnp.asarray(4.0 / self.scheme.highest(bits)))

    def __call__(
        self, x: Float[Array, "*batch features"]
    ) -> QuantizedActivations | Float[Array, "*batch features"]:
        """Returns activations in few bits."""
        (bits,) = self.scheme.widths
        quantizers = Quantizers(self.scale[...].reshape(1, 1, 1))
        codes = quantize_activations(x, bits, quantizers, self.scheme)
        return codes if self.gives_codes else numbers(codes)


def numbers(x: QuantizedActivations) -> Float[Array, "*batch features"]:
    """Returns what the codes of activations stand for."""
    steps = x.codes.astype(x.scale.dtype) - x.zero_point.astype(x.scale.dtype)
    return x.scale * steps
