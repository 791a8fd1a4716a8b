"""How many bits a number has, and which numbers share a scale.

Codes of ``b`` bits are whole numbers from ``-2**(b-1)`` to ``2**(b-1) - 1``. These are
plain values: nothing here loads an array library.
"""

import dataclasses
from typing import Literal

from typing_extensions import override

LEAST_WIDTH = 2
"""Bits: a code of 1 bit is -1 or 0, which has no positive weight."""

MOST_WIDTH = 8
"""Bits: what integer products take."""

FLOAT_WIDTH = 16
"""Bits from which on a number is left as it is."""

Granularity = Literal["tensor", "channel", "group"]
"""What shares a scale: a whole weight; one column of it, an output channel; or
``group_size`` consecutive inputs of one column."""


def check_width(bits: int) -> None:
    """Refuses a bit-width that codes cannot have.

    Raises:
        ValueError: If it is none of 2 to 8.
    """
    if isinstance(bits, int) and LEAST_WIDTH <= bits <= MOST_WIDTH:
        return
    raise ValueError(
        f"codes cannot have {bits!r} bits: take {LEAST_WIDTH} to {MOST_WIDTH}, or "
        f"{FLOAT_WIDTH} to leave numbers as they are"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Codes:
    """The codes that numbers may be given.

    Raises:
        ValueError: If widths are not ascending numbers of bits from 2 to 8.
    """

    widths: tuple[int, ...] = (2, 4, 8)
    """Bit-widths that are quantised, ascending. Each has scales of its own; 16 bits and
    more, which an axis may offer beside these, need none."""
    symmetric: bool = True
    """Whether code 0 is the number 0. If not, a learned zero point is."""

    def __post_init__(self) -> None:
        for bits in self.widths:
            check_width(bits)
        if not self.widths or list(self.widths) != sorted(set(self.widths)):
            raise ValueError(
                f"widths must be ascending and different, got {self.widths}: "
                "as (2, 4, 8)"
            )

    def row(self, bits: int) -> int:
        """Returns the position of a width, which is that of its scales.

        Raises:
            ValueError: If it is not one of the widths.
        """
        if bits >= FLOAT_WIDTH:
            raise ValueError(f"numbers of {bits} bits are left as they are: no codes")
        if bits not in self.widths:
            raise ValueError(
                f"there is no scale for {bits!r} bits: widths are {self.widths}; add "
                f"it to them, or take {FLOAT_WIDTH} to leave numbers as they are"
            )
        return self.widths.index(bits)

    def lowest(self, bits: int) -> int:
        """Returns the lowest code."""
        return -(1 << (bits - 1))

    def highest(self, bits: int) -> int:
        """Returns the highest code."""
        return self.lowest(bits) + (1 << bits) - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scheme(Codes):
    """How weights are quantised. A weight is a matrix of inputs by outputs.

    Raises:
        ValueError: If widths are wrong, or a group size is missing, wrong or useless.
    """

    granularity: Granularity = "channel"
    """What shares a scale."""
    group_size: int | None = None
    """Consecutive inputs that share a scale, if groups do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.granularity != "group":
            if self.group_size is not None:
                raise ValueError(
                    f"a group size of {self.group_size} is for granularity 'group', "
                    f"which is {self.granularity!r}: leave it out or change that"
                )
        elif self.group_size is None or self.group_size < 1:
            raise ValueError(
                "granularity 'group' needs a group_size of at least 1 input, as 64; "
                f"got {self.group_size}"
            )

    def scale_shape(self, inputs: int, outputs: int) -> tuple[int, int]:
        """Returns the groups and the channels that a weight has scales for.

        Args:
            inputs: Of the stored weight.
            outputs: Of it.

        Raises:
            ValueError: If groups do not divide the inputs.
        """
        if self.group_size and inputs % self.group_size:
            divisors = [n for n in range(1, inputs + 1) if inputs % n == 0]
            near = min(divisors, key=lambda n: abs(n - (self.group_size or 0)))
            raise ValueError(
                f"groups of {self.group_size} do not divide {inputs} inputs: take "
                f"{near}, or granularity 'channel'"
            )
        return self.cut_shape(inputs, outputs)

    def cut_shape(self, inputs: int, outputs: int) -> tuple[int, int]:
        """Returns the same of a subnet's weight, whose last group may be cut short."""
        groups = -(-inputs // self.group_size) if self.group_size else 1
        return groups, 1 if self.granularity == "tensor" else outputs

    def sharing(self, inputs: int, outputs: int) -> int:
        """Returns how many entries of a stored weight share a scale."""
        if self.group_size:
            return self.group_size
        return inputs * outputs if self.granularity == "tensor" else inputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivationScheme(Codes):
    """How activations are quantised: all that a layer is given share a scale."""

    signed: bool = True
    """Whether there are negative ones. If not, codes go from 0 to ``2**b - 1``."""

    @override
    def lowest(self, bits: int) -> int:
        """Returns the lowest code."""
        return super().lowest(bits) if self.signed else 0
