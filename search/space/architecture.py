"""Architectures: what a genotype stands for, and rules over them."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping

from search.space.choice import Value

Json = dict[str, Value | list[Value] | list[int]]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A decoded member of a space.

    Attributes:
        layers: Indices of the stored layers that run, in order.
        shared: ``(name, value)`` for every global choice.
        per_layer: ``(name, values)`` for every per-layer choice, one value for each
            layer that runs.
    """

    layers: tuple[int, ...]
    shared: tuple[tuple[str, Value], ...]
    per_layer: tuple[tuple[str, tuple[Value, ...]], ...]

    def __getitem__(self, name: str) -> Value | tuple[Value, ...]:
        for key, value in (*self.shared, *self.per_layer):
            if key == name:
                return value
        if name == "depth":
            return len(self.layers)
        names = [key for key, _ in (*self.shared, *self.per_layer)]
        raise KeyError(f"no choice {name!r}; there are {[*names, 'depth']}")

    def to_json(self) -> Json:
        """Returns a JSON object; :meth:`from_json` is its inverse."""
        encoded: Json = {"layers": list(self.layers)}
        encoded.update(self.shared)
        encoded.update((name, list(values)) for name, values in self.per_layer)
        return encoded

    @classmethod
    def from_json(cls, encoded: object) -> "Architecture":
        """Rebuilds an architecture from :meth:`to_json`.

        Raises:
            ValueError: If it is not such an object, saying which part is not.
        """
        if not isinstance(encoded, Mapping):
            raise ValueError(f"an architecture is a JSON object, got {encoded!r}")
        layers = _layers(encoded.get("layers"))
        shared: list[tuple[str, Value]] = []
        per_layer: list[tuple[str, tuple[Value, ...]]] = []
        for name, value in encoded.items():
            if name == "layers":
                continue
            if not isinstance(value, list):
                shared.append((name, _scalar(name, value)))
            elif len(value) == len(layers):
                per_layer.append((name, tuple(_scalar(name, item) for item in value)))
            else:
                raise ValueError(
                    f"{name!r} has {len(value)} values for {len(layers)} layers"
                )
        return cls(layers, tuple(shared), tuple(per_layer))

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that name this architecture."""
        return digest(self.to_json())[:8]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A validity rule: ``check`` says whether an architecture is allowed."""

    description: str
    check: Callable[[Architecture], bool]


def digest(encoded: object) -> str:
    """Returns the SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(encoded, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _layers(found: object) -> tuple[int, ...]:
    if not isinstance(found, list) or not found:
        raise ValueError(f"'layers' must be a list of layer indices, got {found!r}")
    layers: list[int] = []
    for layer in found:
        if type(layer) is not int or layer <= max(layers, default=-1):
            raise ValueError(f"'layers' must be ascending indices, got {found!r}")
        layers.append(layer)
    return tuple(layers)


def _scalar(name: str, value: object) -> Value:
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"{name!r} is {value!r}, not a bool, int, float or str")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name!r} is {value!r}, which is not finite")
    return value
