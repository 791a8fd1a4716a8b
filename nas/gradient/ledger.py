"""What campaigns by gradient have come to, put together from their descents."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nas.gradient.descent import Descent, Round
from search.archive import Record
from search.campaign import Progress
from search.fidelity import columns
from search.pareto import hypervolume
from search.problem import Problem


class Ledger:
    """The rounds of all descents.

    Descents of a campaign may run side by side, in any order. Its history is told as if
    they had gone step by step together, so that it is the same however they ran.

    Args:
        problem: What is searched.
        reference: Of the hypervolume.
        descents: All of them.
    """

    def __init__(
        self,
        problem: Problem,
        reference: Float[np.ndarray, " objectives"],
        descents: Sequence[Descent],
    ) -> None:
        self._problem, self._reference = problem, reference
        self._rounds: dict[str, dict[int, list[Round]]] = {}
        self._budgets: dict[str, int] = {}
        for descent in descents:
            name = descent.campaign
            self._rounds.setdefault(name, {})[descent.number] = []
            self._budgets[name] = self._budgets.get(name, 0) + descent.looks

    @property
    def budgets(self) -> dict[str, int]:
        """How many subnets each campaign may look at."""
        return self._budgets

    def note(self, descent: Descent, told: Round) -> Progress:
        """Adds a round, and returns how the campaign stands.

        One that is told again, by a descent that was lost, takes the place of the first
        telling.
        """
        self._rounds[descent.campaign][descent.number][told.number :] = [told]
        every = self._rounds[descent.campaign].values()
        generation = sum(len(rounds) for rounds in every)
        return self._progress(descent.campaign, generation, list(every))

    def history(self, campaign: str) -> list[Progress]:
        """Returns how a campaign stood after each round of all its descents."""
        every = list(self._rounds[campaign].values())
        most = max(len(rounds) for rounds in every)
        return [
            self._progress(campaign, row, [rounds[:row] for rounds in every])
            for row in range(1, most + 1)
        ]

    def _progress(
        self, campaign: str, generation: int, every: Sequence[Sequence[Round]]
    ) -> Progress:
        distinct = {
            record.genotype: record
            for rounds in every
            for told in rounds
            for record in told.records
        }
        best, volume = self._front(list(distinct.values()))
        return Progress(
            campaign, generation, len(distinct), self._budgets[campaign], best, volume
        )

    def _front(self, records: Sequence[Record]) -> tuple[dict[str, float], float]:
        """Returns the smallest feasible objectives, and the hypervolume."""
        metrics = columns(records)
        objectives = self._problem.objectives_of(metrics)
        objectives = objectives[self._problem.violations(metrics) <= 0]
        if not len(objectives):
            return {}, 0.0
        smallest = objectives.min(0).tolist()
        best = dict(zip(self._problem.objectives, smallest, strict=True))
        return best, hypervolume(objectives, self._reference)
