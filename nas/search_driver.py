"""The process that drives Ray: `python -m nas.search_driver DIR`.

It is a process of its own because Ray forks workers, which is unsafe once JAX runs in
the same process; here nothing imports JAX.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from rich.console import Console
from safetensors.numpy import load_file

from nas.campaigns import algorithm_of, campaign_name, seeds_of
from nas.drivers import drive, end_with_parent
from nas.errors import RunError
from nas.evaluation import MakeEvaluate
from nas.evaluators import evaluators, shortage
from nas.experiment import Experiment
from nas.gradient.campaigns import GradientCampaigns
from nas.metrics import cheap_of, final_validation, problem_of
from nas.ray_session import cluster_resources, ray_session
from nas.rundir import RunDirectory, write_json
from nas.search_display import search_display
from search.campaign import Progress
from search.problem import Problem
from search.tune import Campaign, CampaignError, run_campaigns
from search.workers import Crew, Workers
from supernets.gradient_search.specs import GradientSearch

Value = TypeVar("Value")

REFERENCE_MARGIN = 1.05
"""How far the reference of the hypervolume lies beyond the worst values."""


def main(arguments: Sequence[str]) -> None:
    """Searches a trained and profiled run directory.

    Raises:
        RunError: If there is no cluster at the address, or a campaign failed.
    """
    end_with_parent()
    directory, address = arguments[0], arguments[1] or None
    run = RunDirectory(Path(directory))
    experiment = run.experiment()
    problem = problem_of(experiment, run)
    campaigns = planned(experiment)
    reference = reference_point(problem, run)
    gradient = GradientCampaigns(
        experiment, problem, cheap_of(experiment, run), reference
    )
    cores, count = os.cpu_count() or 1, experiment.search.evaluators
    local = cores if address is None else None
    console = Console(stderr=False)
    history: dict[str, list[Progress]] = {campaign.name: [] for campaign in campaigns}
    budgets = {campaign.name: campaign.stop.evaluations for campaign in campaigns}
    budgets |= gradient.budgets
    if words := gradient.in_words():
        console.print(words, highlight=False, soft_wrap=True)
    with (
        # One processor more, for the campaign itself.
        ray_session(address, cpus=max(cores, count) + 1),
        search_display(console, list(in_order(experiment, budgets).items())) as show,
    ):

        def on_progress(latest: Progress, crew: Crew) -> None:
            add_generation(history[latest.campaign], latest)
            show(latest, crew)

        weights = load_file(run.supernet)
        workers = _workers(count, local, run, console)
        try:
            gradient.run(run, weights=weights, workers=workers, show=show)
            if campaigns:
                run_campaigns(
                    problem,
                    campaigns,
                    reference=reference,
                    make_evaluate=MakeEvaluate(experiment),
                    weights=weights,
                    workers=workers,
                    archive=run.archive,
                    storage=run.tune,
                    on_progress=on_progress,
                    halving=experiment.search.fidelity,
                )
        except CampaignError as error:
            raise RunError(str(error)) from error
    histories = {**history, **gradient.history()}
    write_json(
        run.campaigns,
        {
            name: {
                "evaluations": [row.evaluations for row in rows],
                "hypervolume": [row.hypervolume for row in rows],
            }
            for name, rows in in_order(experiment, histories).items()
        },
    )


def _workers(
    count: int, cores: int | None, run: RunDirectory, console: Console
) -> Workers:
    """Returns the evaluators of each campaign, and says what they have to wait for."""
    resources = cluster_resources()
    workers = evaluators(
        count,
        cores=cores,
        resources=resources,
        variables=os.environ,
        cache=run.tune / "compiled",
    )
    if lacking := shortage(workers, resources):
        console.print(
            f"search: waiting for more nodes; a campaign needs {lacking}",
            highlight=False,
        )
    return workers


def planned(experiment: Experiment) -> list[Campaign]:
    """Returns the campaigns that ask and tell: each such algorithm from each seed."""
    search = experiment.search
    return [
        Campaign(
            name=campaign_name(algorithm, seed if search.seeds > 1 else None),
            algorithm=algorithm,
            seed=seed,
            stop=search.stop,
        )
        for algorithm in search.algorithms
        if not isinstance(algorithm, GradientSearch)
        for seed in seeds_of(experiment)
    ]


def in_order(
    experiment: Experiment, campaigns: Mapping[str, Value]
) -> dict[str, Value]:
    """Returns what there is for each campaign, in the order of the algorithms."""
    names = [type(algorithm).__name__ for algorithm in experiment.search.algorithms]
    order = sorted(campaigns, key=lambda name: names.index(algorithm_of(name)))
    return {name: campaigns[name] for name in order}


def reference_point(
    problem: Problem, run: RunDirectory
) -> Float[np.ndarray, " objectives"]:
    """Returns a point behind everything a campaign can find worth having.

    For a bounded metric that is its limit, for a score the worst of the validated
    subnets, and for other metrics the largest subnet's value, each with a margin.
    """
    limits = {b.metric: b.limit for b in problem.bounds if not b.at_least}
    for name, values in final_validation(run).items():
        limits.setdefault(name, max(values.values()))
    for name, values in problem.cheap(problem.space.largest[None]).items():
        limits.setdefault(name, float(values[0]))
    return REFERENCE_MARGIN * np.asarray([limits[name] for name in problem.objectives])


def add_generation(history: list[Progress], latest: Progress) -> None:
    """Adds a generation; one that is told again takes the place of the first telling.

    A campaign whose machine was lost begins again and tells everything again.
    """
    history[latest.generation - 1 :] = [latest]


if __name__ == "__main__":
    drive(main)
