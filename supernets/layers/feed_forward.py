"""Elastic nested feed-forward network."""

from flax import nnx
from jaxtyping import Array, Float

from kernels.dispatch import run
from kernels.extents import gated
from kernels.feed_forward import UNIT_AXES, FeedForward, FeedForwardWeights
from kernels.operation import Call
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size


class ElasticFeedForward(nnx.Module):
    """A gated or plain network whose hidden units are nested (MatFormer).

    Args:
        features: Choice or fixed size of the model width.
        hidden: Choice or fixed number of hidden units.
        use_gate: Gated (SwiGLU) if true, else plain (GELU).
        output_scale: Standard deviation of the down projection, relative to default.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        features: Dimension,
        hidden: Dimension,
        *,
        use_gate: bool = True,
        output_scale: float = 1.0,
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

    def __call__(
        self, x: Float[Array, "rows features"], extents: LayerExtents
    ) -> Float[Array, "rows features"]:
        """Applies the active units; zero in a skipped layer."""
        return run(self.call(extents), x)

    def call(self, extents: LayerExtents) -> Call:
        """Returns the operation without its input."""
        features = extent_of(self.features, extents)
        hidden = gated(extent_of(self.hidden, extents), extents["depth"])
        gate = None if self.gate is None else self.gate[...]
        weights = FeedForwardWeights(self.up[...], self.down[...], gate)
        return Call(FeedForward(), (features, hidden), weights)

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        into, back = (self.features, self.hidden), (self.hidden, self.features)
        gate = {} if self.gate is None else {"gate": into}
        return {"up": into, "down": back, **gate}

    def unit_axes(self) -> dict[str, int]:
        """Returns the axis of hidden units of each weight."""
        return UNIT_AXES
