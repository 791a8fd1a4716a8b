"""The standard phases of progressive training."""

import dataclasses
from collections.abc import Sequence

from search.space import Space
from supernets.losses.losses import Losses
from supernets.phases import Phase
from supernets.policies.largest_only import LargestOnly
from supernets.policies.registry import PolicySpec
from supernets.policies.sandwich import Sandwich

ORDER = ("ffn", "heads", "depth", "width")
"""The order in which axes open: those that change the function least first."""


def progressive(
    space: Space,
    *,
    order: Sequence[str] | None = None,
    policy: PolicySpec = Sandwich(),
    losses: Losses = Losses(),
    largest: float = 0.2,
    last: float = 0.4,
    full: tuple[float, float] = (0.5, 0.1),
) -> tuple[Phase, ...]:
    """Returns phases that open one axis after another.

    First the largest subnet is trained alone; then each phase opens one more axis, with
    all earlier ones kept open (Once-for-All, Cai 2020, section 3.3). From phase to
    phase there are fewer steps of the largest subnet alone (as in VARiant, arXiv
    2511.16546), and the last phase, which has the whole space, is the longest.

    All phases but the first are compiled as one program, unless the share of full steps
    falls to zero: steps that may leave subnets out are another program than those that
    never do.

    >>> from search.space import Choice, Depth
    >>> ffn = Choice("ffn", (64, 128), per_layer=True)
    >>> space = Space((Choice("width", (32, 48)), ffn), 4, Depth((2, 4)))
    >>> for phase in progressive(space):
    ...     print(f"{phase.share:.1f}", f"{phase.full:.1f}", phase.elastic)
    0.2 1.0 ()
    0.2 0.5 ('ffn',)
    0.2 0.3 ('ffn', 'depth')
    0.4 0.1 ('ffn', 'depth', 'width')

    Args:
        space: Of the supernet, as ``model.space()``.
        order: The axes in the order in which they open; others never do. Unless given,
            feed-forward, heads, depth, width, then what else the space has.
        policy: Of the phases in which something is open.
        losses: Of all phases.
        largest: Share of the training for the largest subnet alone, from 0 (no such
            phase) to below 1.
        last: Share of the training for the last phase; those between share the rest.
        full: Share of the steps of the largest subnet alone, in the first phase that
            has something open and in the last; it changes linearly between them.

    Raises:
        ValueError: If a named axis is not there or repeats, if no axis has more than
            one value, or if shares are out of range.
    """
    opened = _opened(space, order)
    shares = _shares(len(opened), largest, last)
    start, end = full
    alone = Phase(policy=LargestOnly(), losses=losses, elastic=(), full=1.0)
    phases = [dataclasses.replace(alone, share=largest)] if largest else []
    for index, share in enumerate(shares):
        progress = index / (len(shares) - 1) if len(shares) > 1 else 1.0
        phases.append(
            Phase(
                share=share,
                policy=policy,
                losses=losses,
                elastic=opened[: index + 1],
                full=(1 - progress) * start + progress * end,
            )
        )
    return tuple(phases)


def _opened(space: Space, order: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the axes with something to open, in their order."""
    if order is None:
        order = [name for name in ORDER if name in space.axes]
        order += [name for name in space.axes if name not in ORDER]
    if unknown := [name for name in order if name not in space.axes]:
        there = list(space.axes)
        raise ValueError(f"no axis {unknown[0]!r} to open; there are {there}")
    if len(set(order)) < len(order):
        raise ValueError(f"order names an axis twice: {list(order)}")
    opened = tuple(name for name in order if len(space.axes[name]) > 1)
    if not opened:
        raise ValueError(f"each of {list(order)} has one value: nothing to open")
    return opened


def _shares(phases: int, largest: float, last: float) -> tuple[float, ...]:
    """Returns the share of each phase that has something open."""
    if not 0.0 <= largest < 1.0:
        raise ValueError(f"largest must lie in 0..1, below 1, got {largest}")
    if phases == 1:
        return (1.0 - largest,)
    if not 0.0 < last < 1.0 - largest:
        raise ValueError(
            f"last must lie between 0 and {1.0 - largest}, which the phase of the "
            f"largest subnet leaves, got {last}"
        )
    return *[(1.0 - largest - last) / (phases - 1)] * (phases - 1), last
