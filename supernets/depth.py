"""Running a stack of layers when depth is a mixture.

Residual layers give ``x_l+1 = x_l + f_l(x_l)``, so the average of the outputs after
each number of layers is ``x_0 + sum_l P(depth > l) f_l(x_l)``: what a layer adds counts
by the probability that it runs, while the next layer reads a stream without any
mixture. Gates in the stream would show deeper layers an input that no subnet has.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from kernels.extents import Fixed, Mixed, prefix_mask
from kernels.mixtures import mixture, shielded
from search.space import Depth
from supernets.lowering import Extents, LayerExtents, at_layer
from supernets.regularization import Noise, with_drop_path


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
    layers: Sequence[Layer],
    x: Float[Array, "rows features"],
    extents: Extents,
    *,
    tokens: int,
    noise: Noise | None = None,
) -> Float[Array, "rows features"]:
    """Runs stored layers one after the other.

    Gates let each layer skip itself. One mixture of depths runs them all up to the
    deepest and averages the outputs after each depth, as the code of TangleNAS does.
    Layers that no depth of positive probability reaches have no gradient. Noise is for
    subnets without mixtures.
    """
    depth = extents["depth"]
    if isinstance(depth, Mixed):
        return _averaged(layers, x, extents, depth, tokens)
    for index, layer in enumerate(layers):
        y = layer(x, at_layer(extents, index), tokens=tokens)
        x = with_drop_path(x, y, noise, layer=index, layers=len(layers), tokens=tokens)
    return x


def after_each_depth(
    layers: Sequence[Layer],
    x: Float[Array, "rows features"],
    extents: Extents,
    depth: Depth | None,
    *,
    tokens: int,
) -> list[Float[Array, "rows features"]]:
    """Returns the stream after each choice of depth, from one pass of the deepest.

    Raises:
        ValueError: If depth is not a choice under the ``prefix`` rule: only then is
            each depth a part of the next.
    """
    if depth is None or depth.rule != "prefix":
        raise ValueError(
            "exits need an elastic depth under the 'prefix' rule, "
            f"got {depth and depth.rule!r}"
        )
    running = {**extents, "depth": tuple(Fixed(1) for _ in layers)}
    states = []
    for index, layer in enumerate(layers):
        x = layer(x, at_layer(running, index), tokens=tokens)
        if index + 1 in depth.values:
            states.append(x)
    return states


def _averaged(
    layers: Sequence[Layer],
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
