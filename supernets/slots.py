"""What the slots of a step ask for, and which of them are compiled as one."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from search.space import Space
from supernets.policies.policy import Draw, Slot

Examples = Literal["shared", "own"]
"""Whether the slots of a step see the same examples, or each sees some of its own."""


class Group(NamedTuple):
    """Neighbouring slots that share one compiled body.

    Attributes:
        slot: What they are.
        rows: Which of the slots.
    """

    slot: Slot
    rows: slice

    @property
    def single(self) -> bool:
        """Whether it is one slot alone."""
        return self.rows.stop - self.rows.start == 1


def groups(slots: Sequence[Slot]) -> Iterator[Group]:
    """Yields the slots in order, in groups of those that are alike.

    Roles only name them, but for that of the largest, which has noise and maybe a loss
    of its own. The first slot is by itself, since others may learn from it.
    """

    def body(index: int) -> tuple[Slot, bool]:
        slot = slots[index]
        if slot.role != "largest":
            slot = dataclasses.replace(slot, role="")
        return slot, index == 0

    for _, alike in itertools.groupby(range(len(slots)), body):
        indices = list(alike)
        yield Group(slots[indices[0]], slice(indices[0], indices[-1] + 1))


def require_teachers(slots: Sequence[Slot], *, has_frozen: bool) -> None:
    """Checks that whom slots learn from is there.

    Args:
        slots: Of a step.
        has_frozen: Whether there is a frozen teacher.

    Raises:
        ValueError: If there is no slot, or somebody's teacher is not there.
    """
    if not slots:
        raise ValueError("a step needs at least one slot")
    first = slots[0]
    for index, slot in enumerate(slots):
        # One that may be left out teaches nobody: it might have nothing to say.
        after_first = index > 0 and not first.optional
        there = {
            "data": True,
            "frozen": has_frozen,
            "previous": after_first,
            "largest": after_first and first.role == "largest",
        }
        if not there[slot.teacher]:
            raise ValueError(
                f"slot {index} ({slot.role}) learns from the {slot.teacher!r} network, "
                f"which is not there; there are "
                f"{[name for name, is_there in there.items() if is_there]}"
            )


def require_examples(slots: Sequence[Slot], examples: Examples) -> None:
    """Checks that nobody is to learn from what another said of other examples.

    Raises:
        ValueError: If slots have examples of their own, and one of them a teacher.
    """
    taught = [slot for slot in slots if slot.teacher != "data"]
    if examples == "own" and taught:
        raise ValueError(
            f"slots have examples of their own, so that {taught[0].role!r} cannot "
            f"learn from the {taught[0].teacher!r} network; let its teacher be 'data'"
        )


def require_batch(
    size: int, slots: Sequence[Slot], examples: Examples, accumulate: int
) -> None:
    """Checks that a batch divides into parts for slots, and these into micro-batches.

    Args:
        size: Examples in the batch.
        slots: Of a step.
        examples: What slots see.
        accumulate: Micro-batches.

    Raises:
        ValueError: If it does not.
    """
    parts = len(slots) if examples == "own" else 1
    if size % (parts * accumulate):
        raise ValueError(
            f"a batch of {size} examples does not divide into {accumulate} "
            f"micro-batches of {parts} parts; take a multiple of {parts * accumulate}"
        )


def require_draw(draw: Draw, slots: Sequence[Slot], space: Space) -> None:
    """Refuses a draw that would train something else than is meant, unseen.

    Args:
        draw: What fills the slots.
        slots: Of a step.
        space: Whose members are drawn.

    Raises:
        ValueError: If shapes do not fit, if a genotype is not a member of the space, or
            if a weight is not positive (an optional slot may have none, not all).
    """
    genotypes, weights = draw
    most = max(slot.candidates for slot in slots)
    if len(weights) != len(slots) or genotypes.shape[:2] != (len(slots), most):
        raise ValueError(
            f"the step has {len(slots)} slots of up to {most} candidates; the draw has "
            f"{len(weights)} weights and genotypes of shape {genotypes.shape}"
        )
    for slot, weight in zip(slots, weights.tolist(), strict=True):
        if not (weight > 0 or (weight == 0 and slot.optional)):
            raise ValueError(
                f"a slot of role {slot.role!r} has weight {weight}; weights are "
                "positive, or zero where the slot is optional"
            )
    if not weights.any():
        raise ValueError("all weights of the draw are zero: there is nothing to train")
    if not space.legal(genotypes.reshape(-1, genotypes.shape[-1])).all():
        raise ValueError("the draw has a genotype that is not a member of the space")
