"""What the subnets of a step are called, and how their losses are told."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from search.space import Genotype, Space
from supernets.policies.policy import Draw, Slot

PLAIN = ("largest", "sampled", "smallest")
"""Roles that say enough; others may train one part of a family after another."""

MOST_TOLD = 3
"""Losses that a progress line has room for."""


def role_of(space: Space, slot: Slot, genotype: Genotype) -> str:
    """Returns what the subnet in a slot is called.

    The largest subnet is called so in whichever slot it is. Of policies that go through
    the values of one axis, each value is a role of its own, as ``ffn 128``.

    Args:
        space: Of the supernet.
        slot: What it fills.
        genotype: The subnet, the only candidate unless the slot has several.
    """
    if slot.candidates > 1:
        return slot.role
    if (genotype == space.largest).all():
        return "largest"
    return slot.role if slot.role in PLAIN else _rung(space, genotype) or slot.role


def _rung(space: Space, genotype: Genotype) -> str:
    """Returns the one value in which a subnet differs from the largest, or nothing."""
    own, largest = space.decode(genotype), space.decode(space.largest)
    values = {"depth": {len(own.layers)}}
    values |= {name: {value} for name, value in own.shared}
    values |= {name: set(chosen) for name, chosen in own.per_layer}
    top = {"depth": {len(largest.layers)}}
    top |= {name: {value} for name, value in largest.shared}
    top |= {name: set(chosen) for name, chosen in largest.per_layer}
    found = [name for name in values if values[name] != top[name]]
    if len(found) != 1 or len(values[found[0]]) != 1:
        return ""
    return f"{found[0]} {next(iter(values[found[0]]))}"


def names_of(space: Space, slots: Iterable[Slot], draw: Draw) -> list[str]:
    """Returns what each subnet of a step is called.

    Args:
        space: Of the supernet.
        slots: Of the step.
        draw: What fills them.
    """
    return [
        role_of(space, slot, candidates[0])
        for slot, candidates in zip(slots, draw.genotypes, strict=True)
    ]


class RoleLosses:
    """Adds up the losses of steps by role; what was not run does not count.

    Args:
        found: What `kept` returned, to go on from there.
    """

    def __init__(self, found: Mapping[str, Sequence[float]] | None = None) -> None:
        self._found = {name: list(row) for name, row in (found or {}).items()}

    def add(self, names: Iterable[str], losses: Float[np.ndarray, " slots"]) -> None:
        """Takes the losses of one step.

        Args:
            names: What its subnets are called.
            losses: Theirs; not a number where one was not run.
        """
        for name, loss in zip(names, losses.tolist(), strict=True):
            if np.isfinite(loss):
                self._found.setdefault(name, []).append(loss)

    def kept(self) -> dict[str, list[float]]:
        """Returns what was added since the last means, as JSON."""
        return {name: list(row) for name, row in self._found.items()}

    def take(self) -> dict[str, float]:
        """Returns the mean loss of each role, and starts anew."""
        means = {name: sum(row) / len(row) for name, row in self._found.items()}
        self._found.clear()
        return means


def in_short(losses: Mapping[str, float]) -> str:
    """Writes losses by role in a line that stays short.

    >>> in_short({"largest": 2.25, "sampled": 2.5})
    'largest 2.25, sampled 2.50'
    >>> in_short({"largest": 2.25, "depth 3": 2.5, "depth 2": 2.75, "depth 1": 3.0})
    '4 roles, largest 2.25 to depth 1 3.00'
    """
    told = [f"{name} {loss:.2f}" for name, loss in losses.items()]
    if len(told) <= MOST_TOLD:
        return ", ".join(told)
    ends = min(losses, key=losses.__getitem__), max(losses, key=losses.__getitem__)
    low, high = (f"{name} {losses[name]:.2f}" for name in ends)
    return f"{len(told)} roles, {low} to {high}"
