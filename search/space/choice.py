"""What can be chosen: elastic dimensions and the rule for depth."""

import dataclasses
import math
from typing import Literal

import numpy as np
from jaxtyping import Bool

Value = bool | int | float | str
DepthRule = Literal["prefix", "spaced", "free"]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One elastic dimension: an ordered tuple of values.

    Attributes:
        name: What the dimension is called, a Python identifier.
        values: JSON scalars of one type, without repetition; numbers ascend.
        per_layer: Whether each layer decides for itself.

    Raises:
        ValueError: If the values are empty, repeated, unsorted, of mixed types or not
            finite.
    """

    name: str
    values: tuple[Value, ...]
    per_layer: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"choice name {self.name!r} is not a Python identifier")
        if not self.values:
            raise ValueError(f"choice {self.name!r} has no values; give at least one")
        kinds = {type(value) for value in self.values}
        if len(kinds) > 1 or kinds.isdisjoint((bool, int, float, str)):
            raise ValueError(
                f"choice {self.name!r} has values of "
                f"{sorted(kind.__name__ for kind in kinds)}; "
                "use one of bool, int, float, str for all of them"
            )
        if any(isinstance(v, float) and not math.isfinite(v) for v in self.values):
            raise ValueError(f"choice {self.name!r} is not finite: {self.values}")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"choice {self.name!r} repeats a value: {self.values}")
        if kinds <= {int, float} and list(self.values) != sorted(self.values):
            raise ValueError(
                f"choice {self.name!r} is not sorted: {self.values}; "
                f"write {tuple(sorted(self.values))}"
            )

    def index(self, value: object) -> int:
        """Returns the position of a value; ``True`` is not taken for 1.

        Raises:
            ValueError: If it is not among the values.
        """
        for index, own in enumerate(self.values):
            if own == value and isinstance(own, bool) == isinstance(value, bool):
                return index
        raise ValueError(f"{self.name!r} has no value {value!r}, only {self.values}")

    def keep(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """Returns the given values as a part of this choice's, in its order.

        Raises:
            ValueError: If one of them is not among the values.
        """
        return tuple(self.values[i] for i in sorted({self.index(v) for v in values}))


@dataclasses.dataclass(frozen=True)
class Depth:
    """How many layers run, and which ones.

    Attributes:
        values: Ascending layer counts.
        rule: ``prefix`` runs the first layers (early exit). ``spaced`` runs
            equidistant ones, each set chosen inside the next larger so that sets are
            nested (the formula of VARiant, arXiv 2511.16546, alone does not nest).
            ``free`` runs any subset with an allowed count.
        chain: The depths that the nested sets of ``spaced`` are derived through, so
            that a restricted depth keeps the sets it had; empty means ``values``.

    Raises:
        ValueError: If the values are empty, unsorted, repeated or below one, or if the
            chain is not of the ``spaced`` rule or misses a value.
    """

    values: tuple[int, ...]
    rule: DepthRule = "prefix"
    chain: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for depths in (self.values, self.chain or self.values):
            Choice("depth", depths)
            if any(type(depth) is not int for depth in depths):
                raise ValueError(f"depths count layers, got {depths}")
            if depths[0] < 1:
                raise ValueError(f"depth must be at least 1, got {depths[0]}")
        if self.rule not in ("prefix", "spaced", "free"):
            raise ValueError(f"no depth rule {self.rule!r}: use prefix, spaced or free")
        if self.chain and self.rule != "spaced":
            raise ValueError(f"the {self.rule!r} rule has no chain")
        if self.chain and not set(self.values) <= set(self.chain):
            raise ValueError(f"the chain {self.chain} misses some of {self.values}")

    def kept(self, layers: int) -> Bool[np.ndarray, "choices layers"]:
        """Returns which layers run at each depth (``prefix`` and ``spaced`` only)."""
        if self.rule == "prefix":
            return np.arange(layers) < np.asarray(self.values)[:, None]
        table = np.zeros((len(self.values), layers), bool)
        current = np.arange(layers)
        for count in reversed(self.chain or self.values):
            current = current[
                np.arange(count) * (len(current) - 1) // max(count - 1, 1)
            ]
            if count in self.values:
                table[self.values.index(count), current] = True
        return table

    def restrict(self, values: tuple[Value, ...]) -> "Depth":
        """Returns a depth with some of the values, running the same layers for each.

        Raises:
            ValueError: If there are no values, or one that is not of this depth.
        """
        kept = Choice("depth", self.values).keep(values)
        counts = tuple(depth for depth in self.values if depth in kept)
        if counts == self.values:
            return self
        chain = (self.chain or self.values) if self.rule == "spaced" else ()
        return Depth(counts, self.rule, chain)
