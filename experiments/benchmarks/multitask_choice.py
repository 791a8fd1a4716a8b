"""Which subnet a user gets who prefers a task, under a budget."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from search.constraints import Bound
from search.nsga2 import Nsga2
from search.problem import Metrics, Problem
from search.space import Genotype, Genotypes, Space
from supernets.multitask.spec import MultiTask, Task

Method = Literal["rule", "search"]

METHODS: dict[Method, str] = {
    "rule": "decoders by the rule, encoder searched",
    "search": "decoders and encoder searched",
}
"""How a subnet is chosen, in words."""

PREFERRED = 0.8
"""Weight of the loss of the preferred task; others share the rest."""

POPULATION = 24
"""Subnets that are evaluated at once."""

Evaluate = Callable[[Genotypes], Metrics]
"""From at most `POPULATION` genotypes to their losses, ``loss_TASK`` by task."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What a user asks for.

    Attributes:
        budget: Largest number of MACs, as a share of that of the largest subnet.
        preferred: Name of the task; ``None`` prefers none.
        method: How the subnet is chosen.
    """

    budget: float
    preferred: str | None
    method: Method

    def __str__(self) -> str:
        words = f"prefers {self.preferred}" if self.preferred else "prefers none"
        return f"{self.budget:.0%} of the MACs, {words}, {METHODS[self.method]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the user gets.

    Attributes:
        genotype: Of the whole space.
        objective: Its weighted loss on the split that it was searched on, in nats.
        evaluations: Subnets that were compared.
    """

    genotype: Genotype
    objective: float
    evaluations: int


def decoder_units(tasks: Sequence[Task], preferred: str | None) -> dict[str, int]:
    """Returns the units of each decoder by its choice (the rule of arXiv 2308.11744).

    The preferred task gets the largest and the others the smallest. Where none is
    preferred all get the middle one.

    Raises:
        ValueError: If the preferred is no task.
    """
    if preferred is None:
        return {t.choice.name: t.units[(len(t.units) - 1) // 2] for t in tasks}
    _require(tasks, preferred)
    return {t.choice.name: t.units[-1 if t.name == preferred else 0] for t in tasks}


def loss_weights(tasks: Sequence[Task], preferred: str | None) -> dict[str, float]:
    """Returns what the loss of each task counts in the search; they add up to 1.

    Raises:
        ValueError: If the preferred is no task.
    """
    if preferred is None or len(tasks) == 1:
        return {task.name: 1 / len(tasks) for task in tasks}
    _require(tasks, preferred)
    rest = (1 - PREFERRED) / (len(tasks) - 1)
    return {t.name: PREFERRED if t.name == preferred else rest for t in tasks}


def choose(
    model: MultiTask, wish: Wish, evaluate: Evaluate, *, evaluations: int, seed: int
) -> Chosen:
    """Searches the subnet of the least weighted loss within the budget.

    Args:
        model: Whose space is searched, or the part of it that the rule leaves.
        wish: What is asked for.
        evaluate: Tells losses on the split for searching.
        evaluations: Subnets to compare; fewer if there are no more in the budget.
        seed: Of the search.

    Raises:
        InfeasibleError: If no subnet is within the budget.
    """
    whole, space = model.space(), open_space(model, wish)

    def macs(genotypes: Genotypes) -> Metrics:
        rows = whole.lift(space, genotypes)
        return {"macs": model.costs(rows, batch=1, example=model.image)["macs"]}

    most = model.costs(whole.largest[None], batch=1, example=model.image)["macs"]
    bound = Bound("macs", wish.budget * float(most[0]))
    problem = Problem(space=space, objectives=("loss",), bounds=(bound,), cheap=macs)
    weights = loss_weights(model.tasks, wish.preferred)
    algorithm = Nsga2(population=POPULATION)
    state = algorithm.init(problem, seed)
    best, objective = space.smallest, np.inf
    while len(state.told) < evaluations:
        asked = algorithm.ask(problem, state)
        if not len(asked):
            break
        losses = weighted(evaluate(whole.lift(space, asked)), weights)
        if losses.min() < objective:
            best, objective = asked[losses.argmin()], losses.min()
        fitting = np.zeros(len(asked))
        state = algorithm.tell(problem, state, asked, losses[:, None], fitting)
    return Chosen(
        genotype=whole.lift(space, best[None])[0],
        objective=float(objective),
        evaluations=len(state.told),
    )


def open_space(model: MultiTask, wish: Wish) -> Space:
    """Returns the part of the space that is left to the search."""
    if wish.method == "search":
        return model.space()
    units = decoder_units(model.tasks, wish.preferred)
    return model.space().restrict(**{name: (size,) for name, size in units.items()})


def weighted(
    losses: Metrics, weights: dict[str, float]
) -> Float[np.ndarray, " population"]:
    """Returns the weighted loss of each subnet."""
    rows = [weight * losses[f"loss_{task}"] for task, weight in weights.items()]
    return np.sum(rows, axis=0)


def _require(tasks: Sequence[Task], preferred: str) -> None:
    names = [task.name for task in tasks]
    if preferred not in names:
        raise ValueError(f"no task {preferred!r} to prefer; there are {names}")
