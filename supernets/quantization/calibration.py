"""Setting scales anew, from the weights of a supernet and what they multiply."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from kernels.dispatch import run
from kernels.extents import Fixed
from kernels.quantization.scheme import FLOAT_WIDTH
from search.space import Space
from supernets.layers.schemes import quantized_weights
from supernets.layers.transformer import ElasticBlock
from supernets.layers.wrapping import wrapped_blocks
from supernets.lowering import Extents, LayerExtents, fixed_extents
from supernets.network import Inputs
from supernets.quantization.precision import ACTIVATION_BITS, WEIGHT_BITS
from supernets.training import TrainState
from supernets.weights import Params


def calibrated(
    supernet: nnx.Module, space: Space, state: TrainState, inputs: Inputs
) -> TrainState:
    """Returns the state with scales and zero points of the least error.

    Those of weights are searched for each bit-width (see
    `kernels.quantization.calibration`), those of activations on what the largest subnet
    multiplies while nothing is rounded. All else stays, moments of the optimiser too.

    Args:
        supernet: The supernet; it may have shapes in place of parameters.
        space: Its search space.
        state: To calibrate; it stays valid.
        inputs: Tokens or images that activations are taken of.
    """
    graph = nnx.graphdef(supernet)

    @jax.jit
    def calibrate(params: Params, inputs: Inputs) -> Params:
        module = nnx.merge(graph, params)
        for _, layer in nnx.iter_modules(module):
            for weight, quantizers in quantized_weights(layer):
                quantizers.calibrate(weight)
        with wrapped_blocks(module, _Observed):
            module(inputs, unrounded(space))
        return nnx.state(module, nnx.Param)

    average = state.average
    if average is not None:
        average = calibrate(average, inputs)
    return state._replace(params=calibrate(state.params, inputs), average=average)


def unrounded(space: Space) -> Extents:
    """Returns the extents of the largest subnet, with 16 bits whatever it may have."""
    extents = dict(fixed_extents(space, space.largest))
    for name in (WEIGHT_BITS, ACTIVATION_BITS):
        if name in extents:
            extents[name] = (Fixed(FLOAT_WIDTH),) * space.layers
    return extents


class _Observed(nnx.Module):
    """A layer that calibrates itself on what it is given, and runs."""

    def __init__(self, block: ElasticBlock) -> None:
        self.block = block

    def __call__(
        self,
        x: Float[Array, "rows features"],
        extents: LayerExtents,
        *,
        tokens: int,
    ) -> Float[Array, "rows features"]:
        attention = self.block.attention
        z = run(self.block.attention_norm.call(extents), x)
        attention.calibrate(z, extents, tokens=tokens)
        x = x + attention(z, extents, tokens=tokens)
        feed_forward = self.block.feed_forward
        z = run(self.block.feed_forward_norm.call(extents), x)
        feed_forward.calibrate(z, extents)
        return x + feed_forward(z, extents)
