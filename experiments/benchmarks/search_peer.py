"""NSGA-II of pymoo as an algorithm of ours, to be compared at equal evaluations.

References:
    Blank, Deb, "pymoo: Multi-Objective Optimization in Python", 2020,
    https://doi.org/10.1109/ACCESS.2020.2990567.
"""

from typing import Any

import numpy as np
import pymoo.core.problem
from jaxtyping import Int
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.mutation import Mutation
from pymoo.core.repair import Repair
from pymoo.operators.crossover.ux import UX
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.problems.static import StaticProblem
from typing_extensions import override

from search.algorithm import Objectives, State, Violations
from search.problem import Problem
from search.space import Genotypes, Space


class PymooNsga2:
    """NSGA-II of pymoo with the operators that are best on integers.

    These are uniform crossover and a reset of each gene with a probability of one over
    their number; simulated binary crossover and polynomial mutation, its defaults, do
    worse. It never asks for a genotype twice among its parents and children, and is
    told the bounds on cheap metrics as constraints. A campaign counts neither genotypes
    that violate those nor repeated ones, so both sides pay for the same.

    Unlike the algorithms of `search` it has a state of its own: an instance serves one
    campaign.

    Args:
        population: Members and children.
    """

    def __init__(self, population: int) -> None:
        self._population = population

    def init(self, problem: Problem, seed: int) -> State:
        """Sets pymoo up."""
        space = problem.space
        self._problem = pymoo.core.problem.Problem(
            n_var=space.genes,
            n_obj=len(problem.objectives),
            n_ieq_constr=1,
            xl=np.zeros(space.genes, int),
            xu=space.cardinalities - 1,
            vtype=int,
        )
        self._algorithm = NSGA2(
            pop_size=self._population,
            sampling=IntegerRandomSampling(),
            crossover=UX(prob=0.9),
            mutation=_Reset(space),
            repair=_Canonical(space),
            eliminate_duplicates=True,
        )
        self._algorithm.setup(
            self._problem, termination=("n_gen", np.inf), seed=seed, verbose=False
        )
        self._outcomes: dict[tuple[int, ...], tuple[np.ndarray, float]] = {}
        return State.empty(problem, seed)

    def ask(self, problem: Problem, state: State) -> Int[np.ndarray, "asked genes"]:  # noqa: ARG002
        """Returns pymoo's next generation."""
        asked = self._algorithm.ask()
        if asked is None:
            raise RuntimeError("pymoo ended the search by itself")
        self._asked = asked
        return np.asarray(self._asked.get("X"), np.int32)

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Tells pymoo of its generation; what it repeats is answered from before."""
        for row, cost, miss in zip(genotypes, objectives, violations, strict=True):
            self._outcomes[tuple(row.tolist())] = cost, float(miss)
        keys = [tuple(row.tolist()) for row in np.asarray(self._asked.get("X"), int)]
        if all(key in self._outcomes for key in keys):
            found = [self._outcomes[key] for key in keys]
            # Infinite objectives upset its crowding; the constraint says enough.
            costs = np.nan_to_num(np.stack([c for c, _ in found]), posinf=1e9)
            misses = np.asarray([[miss] for _, miss in found])
            answers = StaticProblem(self._problem, F=costs, G=misses)
            Evaluator().eval(answers, self._asked)
            self._algorithm.tell(infills=self._asked)
        return state.after(
            problem.space.canonical(genotypes), objectives, violations, _everything
        )


def _everything(objectives: Objectives, violations: Violations) -> np.ndarray:  # noqa: ARG001
    return np.arange(len(violations))


class _Reset(Mutation):
    """Draws genes anew, each with a probability of one over their number."""

    def __init__(self, space: Space) -> None:
        super().__init__(prob=1.0)
        self._sizes = space.cardinalities

    @override
    def _do(
        self,
        problem: object,
        X: np.ndarray,
        *arguments: object,
        random_state: np.random.Generator | None = None,
        **options: Any,
    ) -> np.ndarray:
        rng = np.random.default_rng(random_state)
        drawn = rng.integers(0, self._sizes[None], X.shape)
        return np.where(rng.random(X.shape) < 1 / X.shape[1], drawn, X)


class _Canonical(Repair):
    """Sets genes of layers that do not run to zero, so that copies are seen."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._space = space

    @override
    def _do(self, problem: object, X: np.ndarray, **options: Any) -> np.ndarray:
        return self._space.canonical(np.asarray(X, np.int32))
