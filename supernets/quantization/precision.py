"""How precise a model may be: plain values, of which its search space gets choices."""

import dataclasses
from typing import Literal

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

Mechanism = Literal["learned", "nested"]
"""Scales of its own for each bit-width, which are learned (EQ-Net, Xu 2023); or the
leading bits of one 8-bit code for all of them (MatQuant, Nair 2025)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """The bits of weights and activations, which every layer chooses for itself.

    Weights of 16 bits are bfloat16 numbers; activations of 16 bits are left as they
    are. Norms, biases and positions are not quantised.

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
    granularity: Granularity = "channel"
    """Which weights share a scale: all, an output channel, or a group of inputs."""
    group_size: int | None = None
    """Inputs of an output channel that share a scale, if groups do."""
    symmetric: bool = True
    """Whether the code 0 stands for the number 0; otherwise zero points are learned."""
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
        if self.adapters and self.granularity != "group":
            raise ValueError(
                f"adapters of rank {self.adapters} need granularity 'group', got "
                f"{self.granularity!r}: there they have as many rows as groups"
            )
        if self.adapters and self.mechanism == "nested":
            raise ValueError(
                "adapters are those of one bit-width, and nested widths share all "
                "they have: take mechanism 'learned'"
            )
        # Which checks the group size.
        _ = self.scheme

    @property
    def scheme(self) -> Scheme | None:
        """How the weights of layers are quantised; None if none ever is."""
        return self._scheme(self.weights, self.granularity, self.group_size)

    @property
    def outer_scheme(self) -> Scheme | None:
        """How the embedding and the head are: by channels, whatever layers do."""
        return self._scheme((self.outer,), "channel", None)

    @property
    def activation_scheme(self) -> ActivationScheme | None:
        """How activations are quantised; None if none ever is."""
        widths = _codes(self.activations)
        return ActivationScheme(widths=widths) if widths else None

    def choices(self) -> tuple[Choice, ...]:
        """Returns the choices that every layer makes."""
        weights = Choice(WEIGHT_BITS, self.weights, per_layer=True)
        if self.activation_scheme is None:
            return (weights,)
        return weights, Choice(ACTIVATION_BITS, self.activations, per_layer=True)

    def _scheme(
        self, bits: tuple[int, ...], granularity: Granularity, group: int | None
    ) -> Scheme | None:
        widths = _codes(bits)
        if not widths:
            return None
        return Scheme(
            widths=widths,
            symmetric=self.symmetric,
            granularity=granularity,
            group_size=group,
        )


def _codes(bits: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(width for width in bits if width < FLOAT_WIDTH)


def _check_choices(name: str, bits: tuple[int, ...]) -> None:
    if not bits or list(bits) != sorted(set(bits)):
        raise ValueError(f"{name} must be ascending bits, as (2, 4, 8), got {bits}")
    for width in bits:
        if width != FLOAT_WIDTH:
            check_width(width)
