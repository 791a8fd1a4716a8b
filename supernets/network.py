"""What a supernet can do, and one subnet of it as a function of inputs."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.extents import Extent, prefix_mask
from supernets.losses.loss import Outputs
from supernets.lowering import Extents
from supernets.regularization import Noise
from supernets.weights import Params

Inputs = Int[Array, "batch tokens"] | Float[Array, "batch height width channels"]


@runtime_checkable
class Supernet(Protocol):
    """A weight-entangled network: every subnet is a set of prefixes of its weights."""

    def __call__(self, inputs: Inputs, extents: Extents) -> Array | Mapping[str, Array]:
        """Returns the logits of the subnet that the extents select.

        Of several tasks, by the task's name.
        """
        ...

    def outputs(
        self, inputs: Inputs, extents: Extents, *, noise: Noise | None = None
    ) -> Outputs:
        """Returns logits, and the features that they are read from.

        Args:
            inputs: Tokens, or images.
            extents: Which subnet.
            noise: Of training; none for evaluation.
        """
        ...

    def exits(self, inputs: Inputs, extents: Extents) -> tuple[Outputs, ...]:
        """Returns the outputs after each choice of depth, fewest layers first.

        One pass through the deepest. Depth in the extents does not matter.

        Raises:
            ValueError: If depth is not a choice under the ``prefix`` rule.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Subnet:
    """One subnet at given weights; see `supernets.losses.loss.Network`.

    Attributes:
        graph: Of the supernet.
        params: Its weights.
        extents: Which subnet.
        noise: Of training.
        depths: Layers that run before each of its exits, fewest first.
    """

    graph: nnx.GraphDef[nnx.Module]
    params: Params
    extents: Extents
    noise: Noise | None = None
    depths: tuple[int, ...] = ()

    def __call__(self, inputs: Inputs) -> Outputs:
        """Runs the subnet.

        Raises:
            TypeError: If the graph is of something else than a `Supernet`.
        """
        return self._supernet().outputs(inputs, self.extents, noise=self.noise)

    def detached(self) -> "Subnet":
        """Returns it as it is evaluated: no noise, no gradient to weights."""
        params = jax.lax.stop_gradient(self.params)
        return dataclasses.replace(self, params=params, noise=None)

    def exits(self, inputs: Inputs) -> tuple[Outputs, ...]:
        """Runs it once and reads the head after each choice of depth."""
        return self._supernet().exits(inputs, self.extents)

    def _supernet(self) -> Supernet:
        supernet = nnx.merge(self.graph, self.params)
        if not isinstance(supernet, Supernet):
            raise TypeError(
                f"{type(supernet).__name__} is no supernet to train: that takes "
                "methods `outputs` and `exits` (see supernets.network.Supernet)"
            )
        return supernet


def padded_features(
    x: Float[Array, "*batch features"], extent: Extent, size: int
) -> tuple[Float[Array, "*batch size"], Float[Array, " size"]]:
    """Returns features with zeros up to the full width, and which are active."""
    ends = [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])]
    return jnp.pad(x, ends), prefix_mask(extent, size).astype(x.dtype)
