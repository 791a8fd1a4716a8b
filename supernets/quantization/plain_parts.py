"""What the layers of a plain network are made of: of floats, or of integers."""

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from kernels.quantization.integers import QuantizedActivations
from kernels.quantization.scheme import FLOAT_WIDTH
from supernets.quantization.plain import (
    PlainRounding,
    QuantizedEmbedding,
    QuantizedLinear,
)
from supernets.quantization.plain_precision import PlainPrecision, WeightFormat

Activations = Float[Array, "*batch features"] | QuantizedActivations
"""What a linear map reads."""

Linear = Callable[[Any], Array]
"""A linear map of `Activations`; one of floats takes these alone."""

Rounding = Callable[[Array], Activations]
"""What is done to activations before linear maps read them."""


class FloatParts:
    """Parts of float32 numbers: Flax's own layers."""

    def linear(
        self, inputs: int, outputs: int, *, use_bias: bool = False, rngs: nnx.Rngs
    ) -> Linear:
        """Returns a linear map with initial weights."""
        return nnx.Linear(inputs, outputs, use_bias=use_bias, rngs=rngs)

    def embedding(self, vocabulary: int, features: int, *, rngs: nnx.Rngs) -> nnx.Embed:
        """Returns a table with initial weights."""
        return nnx.Embed(vocabulary, features, rngs=rngs)

    def rounding(self) -> Rounding:
        """Returns a function that leaves activations as they are."""
        return _unchanged


@dataclasses.dataclass(frozen=True)
class StoredParts:
    """Parts of few bits.

    Attributes:
        form: How weights are stored.
        activation_bits: Of what they multiply.
    """

    form: WeightFormat
    activation_bits: int = FLOAT_WIDTH

    def linear(
        self, inputs: int, outputs: int, *, use_bias: bool = False, rngs: nnx.Rngs
    ) -> Linear:
        """Returns a linear map with initial weights."""
        return QuantizedLinear(inputs, outputs, self.form, use_bias=use_bias, rngs=rngs)

    def embedding(
        self, vocabulary: int, features: int, *, rngs: nnx.Rngs
    ) -> QuantizedEmbedding:
        """Returns a table with initial weights."""
        return QuantizedEmbedding(vocabulary, features, self.form, rngs=rngs)

    def rounding(self) -> Rounding:
        """Returns what makes codes of activations, unless they are left as they are."""
        if self.activation_bits == FLOAT_WIDTH:
            return _unchanged
        return PlainRounding(self.activation_bits)


Parts = FloatParts | StoredParts
"""What makes the parts of a layer."""


def parts_of_layer(precision: PlainPrecision | None, layer: int) -> Parts:
    """Returns what a layer is made of: of float32 numbers without a precision."""
    if precision is None:
        return FloatParts()
    bits = precision.activation_bits[layer]
    return StoredParts(precision.weights_of(layer), bits)


def outer_parts(precision: PlainPrecision | None) -> Parts:
    """Returns what all that is outside the layers is made of."""
    return FloatParts() if precision is None else StoredParts(precision.outer)


def _unchanged(x: Array) -> Array:
    return x
