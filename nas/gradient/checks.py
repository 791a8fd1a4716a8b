"""What can be said of a search by gradient before anything is trained."""

from nas.gradient.bounds import bound_sets
from search.problem import Problem
from supernets.gradient_search.specs import GradientSearch


def require_movable(
    problem: Problem, spec: GradientSearch, scores: tuple[str, ...]
) -> None:
    """Makes sure that a mixture of all subnets has a gradient, and bounds.

    Args:
        problem: What is searched; latencies may not be known yet.
        spec: How.
        scores: Names of the metrics that take an evaluation.

    Raises:
        InfeasibleError: If nothing keeps the bounds of the problem.
        UsageError: If a limit is not positive.
        ValueError: If a choice of the space is not one of sizes.
    """
    # Imported here: the process that drives Ray starts no array library.
    from supernets.gradient_search.decisions import decision_shapes

    decision_shapes(problem.space)
    known = problem.cheap(problem.space.largest[None])
    if all(name in known or name in scores for name in problem.objectives):
        bound_sets(problem, spec, scores)
