"""The bits of a plain network, as plain values: what its description says of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kernels.quantization.scheme import (
    FLOAT_WIDTH,
    MOST_WIDTH,
    Granularity,
    Scheme,
    check_width,
)
from search.space import Architecture, Value
from supernets.quantization.precision import (
    ACTIVATION_BITS,
    ASYMMETRY,
    GRANULARITIES,
    GRANULARITY,
    WEIGHT_BITS,
    Mechanism,
    Precision,
)


@dataclasses.dataclass(frozen=True)
class WeightFormat:
    """How one weight is stored.

    Attributes:
        bits: Of an entry.
        scheme: How its codes were made, of one width; where that is more than ``bits``,
            they are its leading bits (`kernels.quantization.bitslice`). ``None`` if
            entries are bfloat16 numbers.
        is_adapted: Whether something is added to what the codes of a group stand for.
    """

    bits: int
    scheme: Scheme | None = None
    is_adapted: bool = False

    @property
    def shift(self) -> int:
        """Zero bits behind those of a code."""
        return self.scheme.widths[0] - self.bits if self.scheme else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainPrecision:
    """The bits of a plain network; those of layers have an entry for each.

    Raises:
        ValueError: If bits are none that numbers can have, or not as many of weights as
            of activations.
    """

    weight_bits: tuple[int, ...]
    """Of the weights of each layer: of integers below 16, of bfloat16 numbers at 16."""
    activation_bits: tuple[int, ...]
    """Of what these weights multiply; 16 leaves it as it is."""
    outer_bits: int
    """Of the embedding and the head, or of the patches' weights and the head."""
    mechanism: Mechanism = "learned"
    """Whether codes were made for their bits, or are the leading ones of 8 bits."""
    granularity: Granularity | tuple[Granularity, ...] = "channel"
    """What shares a scale in a layer, all of them or each; outside, output channels
    have one each."""
    group_size: int | None = None
    """Inputs of an output channel that share a scale, if groups do."""
    symmetric: bool | tuple[bool, ...] = True
    """Whether the code 0 stands for the number 0, in all layers or in each; otherwise
    there are zero points."""
    outer_symmetric: bool | None = None
    """The same outside the layers; as in them all, unless given."""
    is_adapted: bool = False
    """Whether layers add numbers to what codes of a group stand for, with which their
    zero points are merged."""

    def __post_init__(self) -> None:
        for bits in (*self.weight_bits, *self.activation_bits, self.outer_bits):
            if bits != FLOAT_WIDTH:
                check_width(bits)
        if len(self.weight_bits) != len(self.activation_bits):
            raise ValueError(
                f"there are weights of {len(self.weight_bits)} layers and activations "
                f"of {len(self.activation_bits)}: each layer has both"
            )
        for name in ("granularity", "symmetric"):
            each = getattr(self, name)
            if isinstance(each, tuple) and len(each) != len(self.weight_bits):
                raise ValueError(
                    f"{name} has {len(each)} entries for {len(self.weight_bits)} "
                    "layers: give one for all, or one of each"
                )
        if self.outer_symmetric is None and isinstance(self.symmetric, tuple):
            raise ValueError(
                "outer_symmetric is not given, and symmetric is that of each layer: "
                "say whether codes of the weights outside are"
            )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PlainPrecision":
        """Rebuilds it from the JSON of its fields, where tuples are lists.

        Raises:
            TypeError: If a field is missing or unknown.
            ValueError: If values are wrong.
        """
        return cls(**with_tuples(stored))

    def require_layers(self, layers: int) -> None:
        """Refuses bits of another number of layers.

        Raises:
            ValueError: If there are more or fewer layers.
        """
        if len(self.weight_bits) != layers:
            raise ValueError(
                f"there are bits of {len(self.weight_bits)} layers for a network of "
                f"{layers}: give each layer its own"
            )

    def weights_of(self, layer: int) -> WeightFormat:
        """Returns how the weights of a layer are stored."""
        bits = self.weight_bits[layer]
        if bits == FLOAT_WIDTH:
            return WeightFormat(bits)
        granularity, symmetric = self.granularity, self.symmetric
        if isinstance(granularity, tuple):
            granularity = granularity[layer]
        if isinstance(symmetric, tuple):
            symmetric = symmetric[layer]
        scheme = self._scheme(bits, granularity, symmetric=symmetric)
        return WeightFormat(bits, scheme, self.is_adapted)

    @property
    def outer(self) -> WeightFormat:
        """How weights outside the layers are stored."""
        if self.outer_bits == FLOAT_WIDTH:
            return WeightFormat(FLOAT_WIDTH)
        symmetric = self.outer_symmetric
        if symmetric is None:
            # Which is then one of all layers; see `__post_init__`.
            symmetric = bool(self.symmetric)
        scheme = self._scheme(self.outer_bits, "channel", symmetric=symmetric)
        return WeightFormat(self.outer_bits, scheme)

    def _scheme(
        self, bits: int, granularity: Granularity, *, symmetric: bool
    ) -> Scheme:
        return Scheme(
            widths=(MOST_WIDTH if self.mechanism == "nested" else bits,),
            symmetric=symmetric,
            granularity=granularity,
            group_size=self.group_size if granularity == "group" else None,
        )


def with_tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields from their JSON, where tuples are lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
    }


def plain_precision(
    precision: Precision | None, architecture: Architecture
) -> PlainPrecision | None:
    """Returns the bits of a subnet's plain network; none if the model has none."""
    if precision is None:
        return None
    chosen = dict(architecture.per_layer)
    whole = (FLOAT_WIDTH,) * len(architecture.layers)
    return PlainPrecision(
        weight_bits=_integers(chosen[WEIGHT_BITS]),
        activation_bits=_integers(chosen.get(ACTIVATION_BITS, whole)),
        outer_bits=precision.outer,
        mechanism=precision.mechanism,
        granularity=_granularity(precision, chosen),
        group_size=precision.group_size,
        symmetric=_symmetric(precision, chosen),
        outer_symmetric=precision.symmetries[0],
        is_adapted=precision.adapters > 0,
    )


def _granularity(
    precision: Precision, chosen: Mapping[str, tuple[Value, ...]]
) -> Granularity | tuple[Granularity, ...]:
    if GRANULARITY not in chosen:
        return precision.granularities[0]
    return tuple(GRANULARITIES[place] for place in _integers(chosen[GRANULARITY]))


def _symmetric(
    precision: Precision, chosen: Mapping[str, tuple[Value, ...]]
) -> bool | tuple[bool, ...]:
    if ASYMMETRY not in chosen:
        return precision.symmetries[0]
    return tuple(not asymmetric for asymmetric in chosen[ASYMMETRY])


def _integers(values: tuple[Value, ...]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
