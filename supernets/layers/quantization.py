"""What layers are told of quantising: how, and which choices say in how many bits."""

import dataclasses

from jaxtyping import Array, Bool

from kernels.extents import Fixed
from kernels.quantization.bitslice import parent_used
from kernels.quantization.scheme import FLOAT_WIDTH, Scheme
from kernels.quantization.widths import used_rows
from search.space import Choice
from supernets.lowering import LayerExtents, extent_of
from supernets.quantization.precision import Precision

Bits = Choice | int


@dataclasses.dataclass(frozen=True)
class Picked:
    """A value of a choice, which a subnet may have picked or not."""

    choice: Choice
    value: int

    def is_known(self, extents: LayerExtents) -> bool:
        """Returns whether a subnet of known sizes has.

        Raises:
            TypeError: If sizes are not known.
        """
        extent = extent_of(self.choice, extents)
        if not isinstance(extent, Fixed):
            raise TypeError(f"only known sizes pick {self.choice.name}, got {extent}")
        return extent.size == self.value

    def is_used(self, extents: LayerExtents) -> Bool[Array, ""]:
        """Returns whether a subnet has, or a mixture of subnets has a share of it."""
        return used_rows(extent_of(self.choice, extents), (self.value,))[0]


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How a layer's weights are quantised, and which choices say in how many bits.

    Attributes:
        precision: Of the model.
        weights: Bits of weights.
        activations: Bits of what they multiply; ``None`` where that is never rounded.
    """

    precision: Precision
    weights: Bits
    activations: Bits | None = None

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Of the weights, one for each combination of `choices`; none at 16 bits."""
        if isinstance(self.weights, int):
            outer = self.precision.outer_scheme
            return () if outer is None else (outer,)
        return self.precision.schemes

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Which of the schemes a subnet uses, the last changing fastest."""
        if isinstance(self.weights, int):
            return ()
        return self.precision.scheme_choices()


@dataclasses.dataclass(frozen=True)
class WidthRows:
    """Rows of parameters, one for each bit-width; see `supernets.dimensions.Rows`.

    Attributes:
        bits: Which one a subnet uses.
        widths: Of each row.
        nested: Whether the one row is that of the parent of all widths.
        where: What a subnet has to have picked to use any.
    """

    bits: Bits
    widths: tuple[int, ...]
    nested: bool = False
    where: tuple[Picked, ...] = ()

    @property
    def count(self) -> int:
        """How many are stored."""
        return len(self.widths)

    def used(self, extents: LayerExtents) -> Bool[Array, " rows"]:
        """Returns which ones a subnet uses."""
        extent = extent_of(self.bits, extents)
        rows = parent_used(extent) if self.nested else used_rows(extent, self.widths)
        for picked in self.where:
            rows &= picked.is_used(extents)
        return rows

    def picked(self, extents: LayerExtents) -> int | None:
        """Returns the one that a subnet of known bits uses; none if it has 16.

        Raises:
            TypeError: If bits are not known.
        """
        extent = extent_of(self.bits, extents)
        if not isinstance(extent, Fixed):
            raise TypeError(f"only known bits pick a row, got {extent}")
        if not all(picked.is_known(extents) for picked in self.where):
            return None
        if extent.size >= FLOAT_WIDTH:
            return None
        return 0 if self.nested else self.widths.index(extent.size)
