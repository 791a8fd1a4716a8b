"""How precise a model may be: plain values, of which its search space gets choices."""

import dataclasses
import itertools
from typing import Literal, get_args

from kernels.quantization.scheme import (
    FLOAT_WIDTH,
    ActivationScheme,
    Granularity,
    Scheme,
    check_width,
)
from search.space import Choice

WEIGHT_BITS = "weight_bits"
"""Name of the choice, for each layer, of the bits of its weights."""

ACTIVATION_BITS = "activation_bits"
"""Name of the choice, for each layer, of the bits of what its weights multiply."""

GRANULARITY = "granularity"
"""Name of the choice, for each layer, of what shares a scale: a place in
`GRANULARITIES`."""

ASYMMETRY = "asymmetric"
"""Name of the choice, for each layer, of whether there are zero points: 0 or 1."""

GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
"""From coarse to fine: a tensor is 0, an output channel 1, a group of inputs 2."""

Mechanism = Literal["learned", "nested"]
"""Scales of its own for each bit-width, which are learned (EQ-Net, Xu 2023); or the
leading bits of one 8-bit code for all of them (MatQuant, Nair 2025)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """The bits of weights and activations, which every layer chooses for itself.

    Weights of 16 bits are bfloat16 numbers; activations of 16 bits are left as they
    are. Norms, biases and positions are not quantised.

    What shares a scale, and symmetry, may be choices of each layer as well. Then every
    pair of them has scales of its own for each bit-width (EQ-Net, Xu 2023, section 3.1,
    where they are choices of the whole network).

    Raises:
        ValueError: If bits are none that codes can have, choices do not ascend, or
            adapters are to be had without groups.
    """

    weights: tuple[int, ...] = (2, 4, 8)
    """Choices of the bits of a layer's weights, ascending: 2 to 8, or 16."""
    activations: tuple[int, ...] = (16,)
    """Choices of the bits of what a layer's weights multiply: 2 to 8, or 16."""
    outer: int = 8
    """Bits of the embedding and of the head, which no layer chooses."""
    mechanism: Mechanism = "learned"
    """Where the codes of each bit-width come from."""
    granularity: Granularity | tuple[Granularity, ...] = "channel"
    """Which weights share a scale: all, an output channel, or a group of inputs; or
    several of these, from coarse to fine."""
    group_size: int | None = None
    """Inputs of an output channel that share a scale, if groups do."""
    symmetric: bool | tuple[bool, ...] = True
    """Whether the code 0 stands for the number 0; otherwise zero points are learned.
    ``(True, False)`` leaves it to each layer, and the outer weights are symmetric."""
    adapters: int = 0
    """Rank of what is added to the weights of each bit-width alone (LLM-QFA, Yi 2024);
    0 adds nothing. It is constant in a group, so that a zero point can hold it
    (QA-LoRA, Xu 2023), and scales must be those of groups."""

    def __post_init__(self) -> None:
        _check_choices("weights", self.weights)
        _check_choices("activations", self.activations)
        _check_choices("outer", (self.outer,))
        if self.adapters < 0:
            raise ValueError(f"adapters must not be negative, got {self.adapters}")
        self._check_schemes()
        if self.adapters and self.granularities != ("group",):
            raise ValueError(
                f"adapters of rank {self.adapters} need granularity 'group', got "
                f"{self.granularity!r}: there they have as many rows as groups"
            )
        if self.adapters and len(self.symmetries) > 1:
            raise ValueError(
                "adapters take the place of zero points, so there is nothing to choose "
                "of symmetry: let symmetric be True or False"
            )
        if self.adapters and self.mechanism == "nested":
            raise ValueError(
                "adapters are those of one bit-width, and nested widths share all "
                "they have: take mechanism 'learned'"
            )
        # Which checks the group size.
        _ = self.schemes

    @property
    def granularities(self) -> tuple[Granularity, ...]:
        """What may share a scale in a layer, from coarse to fine."""
        if isinstance(self.granularity, tuple):
            return self.granularity
        return (self.granularity,)

    @property
    def symmetries(self) -> tuple[bool, ...]:
        """Whether a layer may have no zero points, and may have some."""
        return (
            self.symmetric if isinstance(self.symmetric, tuple) else (self.symmetric,)
        )

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """How the weights of a layer may be quantised; none if none ever is.

        One for each granularity and symmetry, the latter changing fastest.
        """
        widths = _codes(self.weights)
        if not widths:
            return ()
        return tuple(
            Scheme(
                widths=widths,
                symmetric=symmetric,
                granularity=granularity,
                group_size=self.group_size if granularity == "group" else None,
            )
            for granularity, symmetric in itertools.product(
                self.granularities, self.symmetries
            )
        )

    @property
    def outer_scheme(self) -> Scheme | None:
        """How the embedding and the head are: by channels, whatever layers do."""
        widths = _codes((self.outer,))
        if not widths:
            return None
        return Scheme(widths=widths, symmetric=self.symmetries[0])

    @property
    def activation_scheme(self) -> ActivationScheme | None:
        """How activations are quantised; None if none ever is."""
        widths = _codes(self.activations)
        return ActivationScheme(widths=widths) if widths else None

    def choices(self) -> tuple[Choice, ...]:
        """Returns the choices that every layer makes."""
        found = [Choice(WEIGHT_BITS, self.weights, per_layer=True)]
        if self.activation_scheme is not None:
            found.append(Choice(ACTIVATION_BITS, self.activations, per_layer=True))
        return *found, *self.scheme_choices()

    def scheme_choices(self) -> tuple[Choice, ...]:
        """Returns those of them that pick one of `schemes`, the last fastest."""
        places = tuple(GRANULARITIES.index(each) for each in self.granularities)
        asymmetric = tuple(int(not each) for each in self.symmetries)
        choices = (
            Choice(GRANULARITY, places, per_layer=True),
            Choice(ASYMMETRY, asymmetric, per_layer=True),
        )
        return tuple(choice for choice in choices if len(choice.values) > 1)

    def _check_schemes(self) -> None:
        granularities, symmetries = self.granularities, self.symmetries
        for name, given, order in (
            ("granularity", granularities, GRANULARITIES),
            ("symmetric", symmetries, (True, False)),
        ):
            if not given or list(given) != [each for each in order if each in given]:
                raise ValueError(
                    f"{name} must be one or several of {order} in this order, got "
                    f"{given}"
                )
        if len(granularities) * len(symmetries) > 1 and not _codes(self.weights):
            raise ValueError(
                "weights of 16 bits have no scales: there is nothing to choose of "
                "granularity or symmetry; give weights fewer bits or drop the choice"
            )
        if self.group_size is not None and "group" not in granularities:
            raise ValueError(
                f"a group size of {self.group_size} is for granularity 'group', which "
                f"is {self.granularity!r}: leave it out or change that"
            )


def _codes(bits: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(width for width in bits if width < FLOAT_WIDTH)


def _check_choices(name: str, bits: tuple[int, ...]) -> None:
    if not bits or list(bits) != sorted(set(bits)):
        raise ValueError(f"{name} must be ascending bits, as (2, 4, 8), got {bits}")
    for width in bits:
        if width != FLOAT_WIDTH:
            check_width(width)
