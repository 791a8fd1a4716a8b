"""The process that drives Ray: `python -m nas.search_driver DIR`.

It is a process of its own because Ray forks workers, which is unsafe once JAX runs in
the same process; here nothing imports JAX.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.console import Console
from safetensors.numpy import load_file

from nas.drivers import INTERRUPTED, end_with_parent
from nas.evaluation import MakeEvaluate
from nas.experiment import Experiment
from nas.metrics import final_validation, make_problem
from nas.profile import LatencyProfile
from nas.progress import progress
from nas.ray_session import ray_session
from nas.rundir import RunDirectory, write_json
from search.algorithm import Algorithm
from search.campaign import Progress
from search.problem import Problem
from search.random_search import RandomSearch
from search.tune import Campaign, run_campaigns
from search.workers import Workers

REFERENCE_MARGIN = 1.05
"""How far the reference of the hypervolume lies beyond the worst values."""


def main(arguments: Sequence[str]) -> None:
    """Searches a trained and profiled run directory."""
    end_with_parent()
    directory, address = arguments[0], arguments[1] or None
    run = RunDirectory(Path(directory))
    experiment = run.experiment()
    problem = make_problem(experiment, LatencyProfile.load(run.device))
    campaigns = planned(experiment)
    cores = os.cpu_count() or 1
    console = Console(stderr=False)
    history: dict[str, list[Progress]] = {campaign.name: [] for campaign in campaigns}
    total = sum(campaign.stop.evaluations for campaign in campaigns)
    with (
        ray_session(address, cpus=cores + 1),
        progress(console, "search", total, "subnets") as update,
    ):

        def on_progress(latest: Progress) -> None:
            history[latest.campaign].append(latest)
            done = sum(rows[-1].evaluations for rows in history.values() if rows)
            update(done, f"{latest.campaign}: hypervolume {latest.hypervolume:.4f}")

        run_campaigns(
            problem,
            campaigns,
            reference=reference_point(problem, run),
            make_evaluate=MakeEvaluate(experiment),
            weights=load_file(run.supernet),
            workers=workers(experiment.search.evaluators, cores, local=address is None),
            archive=run.archive,
            storage=run.tune,
            on_progress=on_progress,
        )
    write_json(
        run.campaigns,
        {
            name: {
                "evaluations": [row.evaluations for row in rows],
                "hypervolume": [row.hypervolume for row in rows],
            }
            for name, rows in history.items()
        },
    )


def planned(experiment: Experiment) -> list[Campaign]:
    """Returns the campaigns of an experiment: its algorithm, and the baseline."""
    search = experiment.search
    algorithms: list[Algorithm] = [search.algorithm]
    if search.baseline and not isinstance(search.algorithm, RandomSearch):
        algorithms.append(RandomSearch())
    return [
        Campaign(
            name=type(algorithm).__name__,
            algorithm=algorithm,
            seed=experiment.seed,
            stop=search.stop,
        )
        for algorithm in algorithms
    ]


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


def workers(count: int, cores: int, *, local: bool) -> Workers:
    """Returns what evaluators need: shares of this machine, or a GPU or core each."""
    if local:
        share = float(max(1, cores // count))
        return Workers(count=count, resources={"CPU": share})
    import ray

    gpus = ray.cluster_resources().get("GPU", 0)
    each = {"CPU": 1.0, "GPU": 1.0} if gpus >= count else {"CPU": 1.0}
    return Workers(count=count, resources=each)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
