"""What a search by gradient can be asked for."""

from typing import TYPE_CHECKING

from supernets.gradient_search.specs import GradientSearch, TwoStage

if TYPE_CHECKING:
    from nas.experiment import Search

LEAST_LOOKS = 2
"""Subnets that a set of bounds takes at least: one that is decoded, one beside it."""


def check_gradient(search: "Search", scores: tuple[str, ...]) -> None:
    """Refuses what a gradient cannot be asked for, if there is such a search.

    Args:
        search: What is searched for, and by whom.
        scores: Names of the metrics that take an evaluation.

    Raises:
        ValueError: If weights would move, nothing has a gradient, a bound is not an
            upper limit of a metric that is known without an evaluation, or there are
            too few evaluations for all sets of bounds.
    """
    for spec in search.algorithms:
        if isinstance(spec, GradientSearch):
            _check_spec(spec)
            _check_objectives(search, scores)
            _check_bounds(search, scores)
            _check_effort(spec, search, scores)


def swept(search: "Search", scores: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the objectives that are bounded by one limit after the other."""
    return tuple(name for name in search.objectives if name not in scores)


def sets_of_bounds(spec: GradientSearch, objectives: int) -> int:
    """Returns how many searches there are, each within other bounds.

    >>> sets_of_bounds(GradientSearch(sweep=4), 1)
    4

    Args:
        spec: The search.
        objectives: How many objectives are swept.
    """
    return 1 + objectives * (spec.sweep - 1)


def _check_spec(spec: GradientSearch) -> None:
    if not isinstance(spec.regime, TwoStage):
        raise ValueError(
            f"regime is {type(spec.regime).__name__}, which moves the weights: its "
            "subnets cannot be compared with others of the run, which have the trained "
            "weights. Give TwoStage() here; supernets.gradient_search.search runs the "
            "other regimes from Python"
        )


def _check_objectives(search: "Search", scores: tuple[str, ...]) -> None:
    if not set(search.objectives) & set(scores):
        raise ValueError(
            f"GradientSearch follows the gradient of a loss; objectives are "
            f"{search.objectives}: add one of {scores}"
        )


def _check_bounds(search: "Search", scores: tuple[str, ...]) -> None:
    for bound in search.bounds:
        if bound.at_least:
            raise ValueError(
                f"'{bound}': GradientSearch keeps upper limits only; write "
                f"'{bound.metric} <= ...', or search by another algorithm"
            )
        if bound.metric in scores:
            raise ValueError(
                f"'{bound}': GradientSearch bounds what is known without an "
                f"evaluation, and {bound.metric} is not; leave it out and choose from "
                "the front, or search by another algorithm"
            )


def _check_effort(
    spec: GradientSearch, search: "Search", scores: tuple[str, ...]
) -> None:
    count = sets_of_bounds(spec, len(swept(search, scores)))
    if search.evaluations < LEAST_LOOKS * count:
        raise ValueError(
            f"evaluations is {search.evaluations}; GradientSearch needs "
            f"{LEAST_LOOKS} for each of its {count} sets of bounds: raise it to "
            f"{LEAST_LOOKS * count}, or lower algorithm.sweep"
        )
