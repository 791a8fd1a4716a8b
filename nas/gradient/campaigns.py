"""The campaigns of a search by gradient, from their plan to their history."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from nas.experiment import Experiment
from nas.gradient.descent import (
    Descent,
    Round,
    gradient_of,
    planned_descents,
)
from nas.gradient.ledger import Ledger
from nas.gradient.searcher import GradientTask
from nas.gradient.trials import run_descents
from nas.metrics import CheapMetrics
from nas.rundir import RunDirectory
from search.campaign import Progress
from search.problem import Problem
from search.workers import Crew, Weights, Workers

Show = Callable[[Progress, Crew], None]


class GradientCampaigns:
    """What a run searches by gradient; nothing, if it has no such search.

    Args:
        experiment: Of the run.
        problem: What is searched.
        cheap: Its cheap metrics.
        reference: Of the hypervolume.

    Raises:
        UsageError: If a limit would not be positive.
    """

    def __init__(
        self,
        experiment: Experiment,
        problem: Problem,
        cheap: CheapMetrics,
        reference: Float[np.ndarray, " objectives"],
    ) -> None:
        self._descents: list[Descent] = []
        self._task: GradientTask | None = None
        spec = gradient_of(experiment)
        if spec is not None:
            self._descents = planned_descents(experiment, problem, spec)
            self._task = GradientTask.of(
                experiment, problem, cheap, spec, self._descents[0]
            )
        self._ledger = Ledger(problem, reference, self._descents)

    @property
    def budgets(self) -> dict[str, int]:
        """How many subnets each campaign may look at, by its name."""
        return self._ledger.budgets

    def in_words(self) -> str:
        """Says within which bounds there is a search; nothing without any."""
        sets = [descent.limits for descent in self._descents]
        told = {
            name: ", ".join(f"{v:.4g}" for v in dict.fromkeys(s[name] for s in sets))
            for name in (sets[0] if sets else {})
        }
        limits = "; ".join(f"{name} <= {values}" for name, values in told.items())
        words = f"search by gradient of the loss: {limits or 'no bounds'}"
        return words if sets else ""

    def run(
        self,
        run: RunDirectory,
        *,
        weights: Weights,
        workers: Workers,
        show: Show,
    ) -> None:
        """Searches on the Ray that this process is connected to.

        Args:
            run: Where the archive is.
            weights: Of its supernet.
            workers: What each searcher needs.
            show: Told how a campaign stands after every round.

        Raises:
            CampaignError: If a descent failed; what was evaluated is kept.
        """

        def on_round(descent: Descent, told: Round, crew: Crew) -> None:
            show(self._ledger.note(descent, told), crew)

        if self._task is not None:
            run_descents(
                self._task,
                self._descents,
                weights=weights,
                workers=workers,
                archive=run.archive,
                storage=run.tune,
                on_round=on_round,
            )

    def history(self) -> dict[str, list[Progress]]:
        """Returns how each campaign went, by its name."""
        return {name: self._ledger.history(name) for name in self.budgets}
