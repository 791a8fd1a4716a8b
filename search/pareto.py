"""Pareto domination, ranks, crowding and hypervolume; objectives are minimised.

References:
    Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", 2002, https://doi.org/10.1109/4235.996017.
    While, Bradstreet, Barone, "A fast way of calculating exact hypervolumes", 2012,
    https://doi.org/10.1109/TEVC.2010.2077298.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

Objectives = Float[np.ndarray, "points objectives"]


def non_dominated(objectives: Objectives) -> Bool[np.ndarray, " points"]:
    """Returns which points no other dominates; copies of such a point all count.

    Raises:
        ValueError: If an objective is NaN.
    """
    _reject_nan(objectives)
    kept = np.zeros(len(objectives), bool)
    # In this order a point is dominated by an earlier one or not at all.
    left = np.lexsort(objectives.T[::-1])
    while len(left):
        first = objectives[left[0]]
        equal = (objectives[left] == first).all(1)
        kept[left[equal]] = True
        left = left[(objectives[left] < first).any(1)]
    return kept


def non_dominated_ranks(
    objectives: Objectives, violations: Float[np.ndarray, " points"]
) -> Int[np.ndarray, " points"]:
    """Returns the front each point lies in, 0 for the best.

    Fronts are peeled off by constrained domination (Deb et al. 2002, section III-A and
    definition 1 of section VI): a feasible point beats an infeasible one, of two
    infeasible ones the smaller violation wins, feasible ones compare by objectives.

    Args:
        objectives: Shape ``(points, objectives)``; those of infeasible points are
            ignored.
        violations: Zero where feasible, larger where worse.

    Raises:
        ValueError: If an objective or a violation is NaN.
    """
    _reject_nan(objectives)
    _reject_nan(violations)
    feasible = violations <= 0
    no_worse = (objectives[:, None] <= objectives[None]).all(2)
    beats = no_worse & ~no_worse.T
    beats = np.where(
        feasible[:, None] & feasible[None],
        beats,
        np.maximum(violations, 0)[:, None] < np.maximum(violations, 0)[None],
    )
    ranks = np.full(len(objectives), -1)
    beaten_by = beats.sum(0)
    for rank in range(len(objectives)):
        if (ranks >= 0).all():
            break
        front = (ranks < 0) & (beaten_by == 0)
        ranks[front] = rank
        beaten_by = beaten_by - beats[front].sum(0)
    return ranks


def crowding_distance(objectives: Objectives) -> Float[np.ndarray, " points"]:
    """Returns how alone each point of one front is (Deb et al. 2002, section III-B).

    The ends of an objective are infinitely alone; an objective in which all points
    agree says nothing.

    Raises:
        ValueError: If an objective is not finite.
    """
    if not np.isfinite(objectives).all():
        raise ValueError(
            "crowding needs finite objectives; leave infeasible points out"
        )
    order = np.argsort(objectives, axis=0, kind="stable")
    ascending = np.take_along_axis(objectives, order, 0)
    gaps = np.full(objectives.shape, np.inf)
    if len(objectives) > 2:
        extent = ascending[-1] - ascending[0]
        gaps[:, extent == 0] = 0.0
        gaps[1:-1] = (ascending[2:] - ascending[:-2]) / np.where(extent > 0, extent, 1)
    distances = np.zeros(objectives.shape)
    np.put_along_axis(distances, order, gaps, 0)
    return distances.sum(1)


def hypervolume(
    objectives: Objectives, reference: Float[np.ndarray, " objectives"]
) -> float:
    """Returns the volume that the points dominate below a reference point.

    Exact for any number of objectives, by the exclusive volumes of While et al. 2012.
    Points that do not lie strictly below the reference contribute nothing.

    Raises:
        ValueError: If an objective is NaN or the reference is not finite.
    """
    _reject_nan(objectives)
    if not np.isfinite(reference).all():
        raise ValueError(f"the hypervolume reference is not finite: {reference}")
    return _volume(objectives[(objectives < reference).all(1)], reference)


def _volume(points: Objectives, reference: Float[np.ndarray, " objectives"]) -> float:
    if not len(points):
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - points.min())
    # np.unique sorts by the first objective, so the others fall along the front of 2.
    front = np.unique(points[non_dominated(points)], axis=0)
    if len(reference) == 2:
        widths = np.diff(front[:, 0], append=reference[0])
        return float((widths * (reference[1] - front[:, 1])).sum())
    front = front[np.argsort(-front[:, -1], kind="stable")]
    inclusive = np.prod(reference[:-1] - front[:, :-1], axis=1)
    total = 0.0
    for i, point in enumerate(front):
        # Later points are no worse in the last objective, so what they share with this
        # one is a slab of its thickness: one objective fewer.
        shared = np.maximum(front[i + 1 :, :-1], point[:-1])
        exclusive = inclusive[i] - _volume(shared, reference[:-1])
        total += float((reference[-1] - point[-1]) * exclusive)
    return total


def _reject_nan(values: Float[np.ndarray, "..."]) -> None:
    if np.isnan(values).any():
        raise ValueError("an objective or violation is NaN, which cannot be compared")
