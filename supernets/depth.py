"""Running a stack of layers when depth is a mixture.

Residual layers give ``x_l+1 = x_l + f_l(x_l)``, so the average of the outputs after
each number of layers is ``x_0 + sum_l P(depth > l) f_l(x_l)``: what a layer adds counts
by the probability that it runs, while the next layer reads a stream without any
mixture. Gates in the stream would show deeper layers an input that no subnet has.
"""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from kernels.extents import Mixed, prefix_mask
from kernels.mixtures import mixture, shielded
from supernets.lowering import Extents, LayerExtents, at_layer


@runtime_checkable
class Layer(Protocol):
    """A layer of a stack, a module that adds to the residual stream."""

    def __call__(
        self,
        x: Float[Array, "rows features"],
        extents: LayerExtents,
        *,
        tokens: int,
    ) -> Float[Array, "rows features"]:
        """Transforms flattened sequences of ``tokens`` rows each."""
        ...


def run_layers(
    layers: Iterable[Layer],
    x: Float[Array, "rows features"],
    extents: Extents,
    *,
    tokens: int,
) -> Float[Array, "rows features"]:
    """Runs stored layers one after the other.

    Gates let each layer skip itself. One mixture of depths runs them all up to the
    deepest and averages the outputs after each depth, as the code of TangleNAS does.
    Layers that no depth of positive probability reaches have no gradient.
    """
    depth = extents["depth"]
    if isinstance(depth, Mixed):
        return _averaged(layers, x, extents, depth, tokens)
    for index, layer in enumerate(layers):
        x = layer(x, at_layer(extents, index), tokens=tokens)
    return x


def _averaged(
    layers: Iterable[Layer],
    x: Float[Array, "rows features"],
    extents: Extents,
    depth: Mixed,
    tokens: int,
) -> Float[Array, "rows features"]:
    deepest = depth.choices[-1]
    reached = prefix_mask(depth, deepest) != 0
    after = [x]
    for index, layer in zip(range(deepest), layers, strict=False):
        read = layer, x, at_layer(extents, index)
        layer, x, seen = shielded(read, reached[index])
        x = layer(x, seen, tokens=tokens)
        after.append(x)
    return mixture([after[count] for count in depth.choices], depth.weights)
