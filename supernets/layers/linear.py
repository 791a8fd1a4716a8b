"""Elastic linear layer."""

from flax import nnx
from jaxtyping import Array, Float

from kernels.linear import add_bias, matmul
from supernets.layers.quantization import Quantization
from supernets.layers.schemes import quantized, weight_quantizers
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size


class ElasticLinear(nnx.Module):
    """A linear map whose inputs and outputs may each be elastic.

    Args:
        inputs: Choice or fixed size of the inputs.
        outputs: Choice or fixed size of the outputs.
        use_bias: Whether to add a bias.
        quantization: How many bits the weight has, if it is quantised.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        inputs: Dimension,
        outputs: Dimension,
        *,
        use_bias: bool = True,
        quantization: Quantization | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        init = nnx.initializers.lecun_normal()
        shape = (full_size(inputs), full_size(outputs))
        self.kernel = nnx.Param(init(rngs.params(), shape))
        zeros = nnx.initializers.zeros_init()
        self.bias = (
            nnx.Param(zeros(rngs.params(), shape[1:])) if use_bias else nnx.data(None)
        )
        self.kernel_quantizers = weight_quantizers(
            self.kernel[...],
            quantization,
            inputs=(inputs,),
            outputs=(outputs,),
            rngs=rngs,
        )

    def __call__(
        self, x: Float[Array, "*batch inputs"], extents: LayerExtents
    ) -> Float[Array, "*batch outputs"]:
        """Applies the active part; see `kernels.linear.matmul`."""
        outputs = extent_of(self.outputs, extents)
        kernel = quantized(self.kernel[...], self.kernel_quantizers, extents)
        y = matmul(x, kernel, extent_of(self.inputs, extents), outputs)
        return y if self.bias is None else add_bias(y, self.bias[...], outputs)

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        bias = {} if self.bias is None else {"bias": (self.outputs,)}
        return {"kernel": (self.inputs, self.outputs), **bias}
