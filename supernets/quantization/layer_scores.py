"""Scores of the layers of a supernet: which of them need many bits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from search.space import Space
from supernets.layers.schemes import quantized_weights
from supernets.layers.transformer import ElasticBlock
from supernets.layers.wrapping import wrapped_blocks
from supernets.lowering import LayerExtents
from supernets.network import Inputs
from supernets.quantization.calibration import unrounded
from supernets.quantization.layer_importance import input_modification, outlier_share
from supernets.weights import Params


class LayerScores(NamedTuple):
    """Two scores of every layer; see `supernets.quantization.layer_importance`.

    Attributes:
        modification: How much each changes what goes through it (LIM), -1 if not at
            all; the higher, the more important.
        outliers: The share of its weights with a z-score above 1 (ZD); the lower, the
            more important.
    """

    modification: Float[np.ndarray, " layers"]
    outliers: Float[np.ndarray, " layers"]


def score_layers(
    supernet: nnx.Module, space: Space, params: Params, inputs: Inputs
) -> LayerScores:
    """Returns the scores of all layers, as they are in the largest subnet.

    It runs in 16 bits, whether or not its layers may have them.

    Args:
        supernet: With one stack of layers; it may have shapes in place of parameters.
        space: Its search space.
        params: Its parameters.
        inputs: Tokens or images that go through the layers.

    Raises:
        ValueError: If it has other layers than the space, or weights of a layer have no
            bits.
    """
    graph, extents = nnx.graphdef(supernet), unrounded(space)

    @jax.jit
    def score(params: Params, inputs: Inputs) -> tuple[list[Array], list[Array]]:
        module = nnx.merge(graph, params)
        with wrapped_blocks(module, _Watched) as watched:
            if len(watched) != space.layers:
                raise ValueError(
                    f"there are {len(watched)} layers with attention and a "
                    f"feed-forward network, and {space.layers} in the space"
                )
            outliers = [outlier_share(_quantized(layer)) for layer in watched]
            module(inputs, extents)
        return [layer.modification[...] for layer in watched], outliers

    found = score(params, inputs)
    return LayerScores(*(np.asarray(scores, np.float32) for scores in found))


class _Watched(nnx.Module):
    """A layer that keeps how much it changes what goes through it."""

    def __init__(self, block: ElasticBlock) -> None:
        self.block = block
        self.modification = nnx.Intermediate(jnp.zeros(()))

    def __call__(
        self,
        x: Float[Array, "rows features"],
        extents: LayerExtents,
        *,
        tokens: int,
    ) -> Float[Array, "rows features"]:
        y = self.block(x, extents, tokens=tokens)
        self.modification[...] = input_modification(x, y)
        return y


def _quantized(layer: nnx.Module) -> list[Array]:
    return [
        weight
        for _, part in nnx.iter_modules(layer)
        for weight, _ in quantized_weights(part)
    ]
