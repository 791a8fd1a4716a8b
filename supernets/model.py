"""What a model is: a light spec that can be priced, built, and cut into subnets.

Reading a spec starts no network library, so that a recipe can be shown and a search
driven without one; what needs it imports it when called.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from search.space import Architecture, Genotypes, Space
from supernets.costs import Cost

if TYPE_CHECKING:
    from flax import nnx

Example = tuple[int, ...]
"""Shape of one input without the batch: (tokens,), or (height, width, channels)."""

Classes = int | Mapping[str, int]
"""Number of classes; of several tasks, by the task's name."""


@runtime_checkable
class PlainConfig(Protocol):
    """The sizes of a plain network: a frozen dataclass of JSON-able values."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PlainConfig":
        """Rebuilds a config from the JSON of its fields, where tuples are lists.

        Raises:
            TypeError: If a field is missing or unknown.
        """
        ...

    def build(self, *, rngs: "nnx.Rngs") -> "nnx.Module":
        """Returns the plain network, a function of inputs, with initial weights."""
        ...


@runtime_checkable
class Model(Protocol):
    """A supernet as a frozen dataclass of plain values.

    What it builds is a `supernets.network.Supernet`.
    """

    def space(self) -> Space:
        """Returns the search space."""
        ...

    def build(self, *, rngs: "nnx.Rngs") -> "nnx.Module":
        """Returns the supernet with initial weights."""
        ...

    def cost(self, genotypes: Genotypes, *, batch: int, example: Example) -> Cost:
        """Returns what subnets hold and compute for ``batch`` inputs of a shape.

        Raises:
            ValueError: If inputs of that shape do not fit.
        """
        ...

    def costs(
        self, genotypes: Genotypes, *, batch: int, example: Example
    ) -> dict[str, Float[np.ndarray, " population"]]:
        """Returns exact costs of subnets on ``batch`` inputs of a shape.

        Keys: ``params``, ``macs``, ``flops``; ``size_mb``, the weights as they are
        stored, ``memory_mb``, weights, inputs and logits that a device must hold (the
        compiler's temporaries come on top), and ``traffic_mb``, what products read and
        write, in units of 10^6 bytes; ``bops``, multiply-accumulates times the bits of
        both factors; ``mean_bits``, of an average weight of the layers.

        Raises:
            ValueError: If inputs of that shape do not fit.
        """
        ...

    def latency_terms(
        self, genotypes: Genotypes
    ) -> Float[np.ndarray, "population terms"]:
        """Returns the physical terms that latency is a non-negative sum of."""
        ...

    def extract(
        self, supernet: "nnx.Module", architecture: Architecture
    ) -> "nnx.Module":
        """Returns a subnet as a plain network that holds only its own weights.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        ...

    def plain_config(self, architecture: Architecture) -> PlainConfig:
        """Returns the sizes of the plain network of an architecture.

        Raises:
            ValueError: If the architecture is not a member of the space.
        """
        ...

    def check(self, example: Example, classes: Classes) -> None:
        """Makes sure that data fit.

        Args:
            example: Shape of one input.
            classes: Number of classes of the targets.

        Raises:
            ValueError: If they do not, saying what would.
        """
        ...
