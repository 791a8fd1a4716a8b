"""What a supernet can do, and one subnet of it as a function of inputs."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.extents import Extent, prefix_mask
from supernets.computing import Compute, Remat
from supernets.losses.loss import Outputs
from supernets.lowering import Extents
from supernets.regularization import Noise
from supernets.rematerialization import recompute
from supernets.weights import Params

Tree = TypeVar("Tree")

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
        compute: The type of weights and activations in it; it gives float32 either way.
        remat: What its gradient computes again.
    """

    graph: nnx.GraphDef[nnx.Module]
    params: Params
    extents: Extents
    noise: Noise | None = None
    depths: tuple[int, ...] = ()
    compute: Compute = "float32"
    remat: Remat = "nothing"

    def __call__(self, inputs: Inputs) -> Outputs:
        """Runs the subnet.

        Raises:
            TypeError: If the graph is of something else than a `Supernet`.
        """
        inputs = self._cast(inputs)
        outputs = self._supernet().outputs(inputs, self.extents, noise=self.noise)
        return cast(outputs, self.compute, "float32")

    def detached(self) -> "Subnet":
        """Returns it as it is evaluated: no noise, no gradient to weights."""
        params = jax.lax.stop_gradient(self.params)
        return dataclasses.replace(self, params=params, noise=None)

    def exits(self, inputs: Inputs) -> tuple[Outputs, ...]:
        """Runs it once and reads the head after each choice of depth."""
        exits = self._supernet().exits(self._cast(inputs), self.extents)
        return cast(exits, self.compute, "float32")

    def _cast(self, tree: Tree) -> Tree:
        return cast(tree, "float32", self.compute)

    def _supernet(self) -> Supernet:
        supernet = nnx.merge(self.graph, self._cast(self.params))
        recompute(supernet, self.remat)
        if not isinstance(supernet, Supernet):
            raise TypeError(
                f"{type(supernet).__name__} is no supernet to train: that takes "
                "methods `outputs` and `exits` (see supernets.network.Supernet)"
            )
        return supernet


def cast(tree: Tree, of: Compute, to: Compute) -> Tree:
    """Returns the arrays of a tree, with those of one type in another."""

    def one(leaf: Array) -> Array:
        return leaf.astype(to) if leaf.dtype == of else leaf

    return jax.tree.map(one, tree)


def padded_features(
    x: Float[Array, "*batch features"], extent: Extent, size: int
) -> tuple[Float[Array, "*batch size"], Float[Array, " size"]]:
    """Returns features with zeros up to the full width, and which are active."""
    ends = [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])]
    return jnp.pad(x, ends), prefix_mask(extent, size).astype(x.dtype)
