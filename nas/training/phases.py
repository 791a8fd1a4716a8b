"""Phases of a training as people see them: what is open, and since when."""

import itertools

import numpy as np
from jaxtyping import Bool

from nas.report.data import PhaseMark
from search.space import Genotypes, Space
from supernets.phases import Phase, Plan

ALONE = "largest alone"


def opened(phase: Phase, whole: Space) -> str:
    """Returns what is elastic in a phase, in words, such as ``ffn, heads open``.

    Args:
        phase: Of the training.
        whole: The space of the supernet.
    """
    names, open_ = _names(whole), _open(phase, whole)
    if not open_:
        return ALONE
    return "all open" if open_ == names else f"{', '.join(open_)} open"


def trained(
    phase: Phase, whole: Space, genotypes: Genotypes
) -> Bool[np.ndarray, " population"]:
    """Returns which subnets a phase may train: those of the space that it opens.

    Args:
        phase: Of the training.
        whole: The space of the supernet.
        genotypes: Its members.
    """
    open_ = _open(phase, whole)
    closed = np.zeros(whole.genes, bool)
    closed[: whole.depth_genes] = "depth" not in open_
    for name, genes in whole.slices.items():
        closed[genes] = name not in open_
    same = (genotypes == whole.largest) | ~whole.active_genes(genotypes)
    return (same | ~closed).all(axis=1)


def phase_line(plan: Plan, number: int) -> str:
    """Returns what is printed when a phase begins.

    Args:
        plan: The training.
        number: Of the phase, from 0.
    """
    phase, (start, end) = plan.phases[number], plan.starts[number : number + 2]
    details = [type(phase.policy).__name__, f"steps {start + 1} to {end}"]
    if phase.sort:
        details.append(f"{', '.join(phase.sort)} sorted")
    if phase.calibrate:
        details.append("scales searched anew")
    if phase.trains != "all":
        details.append(f"{phase.trains} alone learn")
    return (
        f"phase {number + 1} of {len(plan.phases)}: {opened(phase, plan.whole)} "
        f"({', '.join(details)})"
    )


def phase_marks(plan: Plan) -> tuple[PhaseMark, ...]:
    """Returns where phases begin, for the report; nothing if there is only one.

    A mark says what changes: a policy that is another one, and what is newly open.
    """
    if len(plan.phases) == 1:
        return ()
    marks = [PhaseMark(0, _told(plan.phases[0], plan.whole))]
    for (before, phase), start in zip(
        itertools.pairwise(plan.phases), plan.starts[1:], strict=False
    ):
        known, now = _open(before, plan.whole), _open(phase, plan.whole)
        new = [name for name in now if name not in known]
        grown = known and new and set(known) < set(now)
        text = f"+ {', '.join(new)}" if grown else opened(phase, plan.whole)
        if type(phase.policy) is not type(before.policy):
            text = _told(phase, plan.whole, text)
        if phase.sort:
            text += ", sorted"
        marks.append(PhaseMark(start, text))
    return tuple(marks)


def trained_before(plan: Plan, number: int) -> list[Space]:
    """Returns the spaces whose members were trained before a phase.

    Those of phases that train the largest subnet alone are left out.

    Args:
        plan: The training.
        number: Of the phase, from 0.
    """
    return [
        phase.space(plan.whole)
        for phase in plan.phases[:number]
        if _open(phase, plan.whole)
    ]


def _told(phase: Phase, whole: Space, text: str = "") -> str:
    return f"{type(phase.policy).__name__}: {text or opened(phase, whole)}"


def _names(whole: Space) -> tuple[str, ...]:
    return (*(("depth",) if whole.depth else ()), *whole.slices)


def _open(phase: Phase, whole: Space) -> tuple[str, ...]:
    """Returns the open choices, in the order of the space."""
    alone = phase.full == 1 or all(slot.fixed for slot in phase.slots(whole))
    if alone:
        return ()
    names = _names(whole)
    if phase.elastic is None:
        return names
    return tuple(name for name in names if name in phase.elastic)
