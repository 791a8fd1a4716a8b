"""Elastic nested feed-forward network."""

from flax import nnx
from jaxtyping import Array, Float

from kernels.dispatch import run
from kernels.extents import gated, largest_size
from kernels.feed_forward import (
    UNIT_AXES,
    FeedForward,
    FeedForwardWeights,
    activate,
)
from kernels.operation import Call
from supernets.layers.quantization import Quantization
from supernets.layers.rounding import activation_rounding, rounded_as
from supernets.layers.schemes import WeightQuantizers, quantized, weight_quantizers
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size


class ElasticFeedForward(nnx.Module):
    """A gated or plain network whose hidden units are nested (MatFormer).

    Args:
        features: Choice or fixed size of the model width.
        hidden: Choice or fixed number of hidden units.
        use_gate: Gated (SwiGLU) if true, else plain (GELU).
        output_scale: Standard deviation of the down projection, relative to default.
        quantization: How many bits there are, if that is elastic.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        features: Dimension,
        hidden: Dimension,
        *,
        use_gate: bool = True,
        output_scale: float = 1.0,
        quantization: Quantization | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        self.features = features
        self.hidden = hidden
        width, units = full_size(features), full_size(hidden)
        init = nnx.initializers.normal(stddev=width**-0.5)
        out = nnx.initializers.normal(stddev=output_scale * units**-0.5)
        self.up = nnx.Param(init(rngs.params(), (width, units)))
        self.down = nnx.Param(out(rngs.params(), (units, width)))
        self.gate = (
            nnx.Param(init(rngs.params(), (width, units)))
            if use_gate
            else nnx.data(None)
        )

        def quantizers(
            weight: nnx.Param[Array] | None, inputs: Dimension, outputs: Dimension
        ) -> WeightQuantizers | None:
            return weight_quantizers(
                None if weight is None else weight[...],
                quantization,
                inputs=(inputs,),
                outputs=(outputs,),
                read_by=hidden,
                rngs=rngs,
            )

        self.up_quantizers = quantizers(self.up, features, hidden)
        self.down_quantizers = quantizers(self.down, hidden, features)
        self.gate_quantizers = quantizers(self.gate, features, hidden)
        self.input_rounding = activation_rounding(quantization, read_by=hidden)
        self.hidden_rounding = activation_rounding(quantization, read_by=hidden)

    def __call__(
        self, x: Float[Array, "rows features"], extents: LayerExtents
    ) -> Float[Array, "rows features"]:
        """Applies the active units; zero in a skipped layer."""
        return run(self.call(extents), x)

    def call(self, extents: LayerExtents) -> Call:
        """Returns the operation without its input."""
        features = extent_of(self.features, extents)
        hidden = gated(extent_of(self.hidden, extents), extents["depth"])
        gate = None
        if self.gate is not None:
            gate = quantized(self.gate[...], self.gate_quantizers, extents)
        weights = FeedForwardWeights(
            quantized(self.up[...], self.up_quantizers, extents),
            quantized(self.down[...], self.down_quantizers, extents),
            gate,
            rounded_as(self.input_rounding, extents, self.features),
            rounded_as(self.hidden_rounding, extents, self.hidden),
        )
        return Call(FeedForward(), (features, hidden), weights)

    def calibrate(
        self, x: Float[Array, "rows features"], extents: LayerExtents
    ) -> None:
        """Sets the scales of what its weights multiply, in place.

        Args:
            x: What it reads.
            extents: Of the largest subnet, in which nothing is rounded.
        """
        if self.input_rounding is None or self.hidden_rounding is None:
            return
        operation, found, weights = self.call(extents)
        sizes = tuple(largest_size(extent) for extent in found)
        units = operation.forward(sizes, x, weights)[1]
        self.input_rounding.calibrate(x)
        self.hidden_rounding.calibrate(activate(*units))

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        into, back = (self.features, self.hidden), (self.hidden, self.features)
        gate = {} if self.gate is None else {"gate": into}
        return {"up": into, "down": back, **gate}

    def unit_axes(self) -> dict[str, int]:
        """Returns the axis of hidden units of each weight."""
        return UNIT_AXES
