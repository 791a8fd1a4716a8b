"""Elastic nested feed-forward network."""

from flax import nnx
from jaxtyping import Array, Float

from kernels.extents import gated
from kernels.feed_forward import FeedForwardWeights, feed_forward
from search.space import Choice
from supernets.lowering import LayerExtents, extent_of, full_size


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
        features: Choice | int,
        hidden: Choice | int,
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
        gate = None if self.gate is None else self.gate[...]
        return feed_forward(
            x,
            FeedForwardWeights(self.up[...], self.down[...], gate),
            extent_of(self.features, extents),
            gated(extent_of(self.hidden, extents), extents["depth"]),
        )
