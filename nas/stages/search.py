"""Stage 3: search the trained supernet, in a process that Ray may fork."""

import shutil
from pathlib import Path

import numpy as np

from nas.drivers import run_driver
from nas.metrics import problem_of, require_askable
from nas.rundir import RunDirectory, read_json
from nas.stages.context import Context


def search(context: Context) -> None:
    """Fills the archive; what it already holds is not evaluated again, as is told.

    Raises:
        InfeasibleError: If no architecture satisfies the constraints.
        RunError: If the search process failed.
    """
    experiment, run = context.experiment, context.run
    problem = problem_of(experiment, run)
    problem.require_feasible(np.random.default_rng(experiment.seed))
    require_askable(experiment, problem)
    # Tune's own files are not what a search resumes from: the archive is.
    shutil.rmtree(run.tune, ignore_errors=True)
    before = _lines(run.archive)
    run_driver("nas.search_driver", context, context.ray_address or "")
    if before:
        context.tell(_answered(run, _lines(run.archive) - before))


def _answered(run: RunDirectory, evaluated: int) -> str:
    """Says how many of the looks at a subnet took no evaluation."""
    looks = sum(
        history["evaluations"][-1]
        for history in read_json(run.campaigns).values()
        if isinstance(history, dict) and history["evaluations"]
    )
    return (
        f"search: {looks} looks at a subnet, {looks - evaluated} answered from the "
        f"archive, {evaluated} newly evaluated"
    )


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
