"""What elastic layers learn of rounding what their weights multiply."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from kernels.operation import widened
from kernels.quantization.calibration import searched_quantizers
from kernels.quantization.quantizers import SMALLEST_SCALE, Quantizers
from kernels.quantization.roundings import Rounding, rounding
from supernets.layers.quantization import Quantization, WidthRows
from supernets.layers.quantizers import normal_steps, scales
from supernets.lowering import (
    Dimension,
    LayerExtents,
    StoredDimension,
    extent_of,
    full_size,
)


class ElasticRounding(nnx.Module):
    """The scale of what weights multiply: one for each bit-width.

    Args:
        quantization: How activations are quantised.
        read_by: The size of what reads the activations; of size 0 it is not used.
    """

    def __init__(self, quantization: Quantization, *, read_by: Dimension) -> None:
        scheme = quantization.precision.activation_scheme
        if quantization.activations is None or scheme is None:
            raise ValueError("activations that are never rounded have no scales")
        self.bits = quantization.activations
        self.read_by = read_by
        self.scheme = scheme
        # A norm comes before most of them.
        steps = normal_steps(scheme.widths)
        self.log_scale = nnx.Param(jnp.log(jnp.asarray(steps)))

    def __call__(self, extents: LayerExtents, features: Dimension) -> Rounding | None:
        """Returns how the activations of a subnet are rounded.

        Args:
            extents: Which subnet.
            features: How many activations there are.
        """
        scale = scales(widened(self.log_scale[...]))[:, None, None]
        return rounding(
            extent_of(self.bits, extents),
            Quantizers(scale),
            self.scheme,
            features=full_size(features),
        )

    def calibrate(self, x: Float[Array, "*batch features"]) -> None:
        """Sets scales to those of the least error for some activations."""
        scale = searched_quantizers(x, self.scheme).scale[:, 0, 0]
        self.log_scale[...] = jnp.log(jnp.maximum(scale, SMALLEST_SCALE))

    def rows(self) -> WidthRows:
        """Returns what tells which rows a subnet uses."""
        return WidthRows(self.bits, self.scheme.widths)

    def dimensions(self) -> dict[str, tuple[StoredDimension, ...]]:
        """Returns that there is no axis after that of rows."""
        return {"log_scale": ()}


def activation_rounding(
    quantization: Quantization | None, *, read_by: Dimension
) -> ElasticRounding | None:
    """Returns the `ElasticRounding` of activations, if they are rounded."""
    if quantization is None or quantization.activations is None:
        return None
    return ElasticRounding(quantization, read_by=read_by)


def rounded_as(
    found: ElasticRounding | None, extents: LayerExtents, features: Dimension
) -> Rounding | None:
    """Returns how activations are rounded, if they are."""
    return None if found is None else found(extents, features)
