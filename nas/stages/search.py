"""Stage 3: search the trained supernet, in a process that Ray may fork."""

import shutil

import numpy as np

from nas.drivers import run_driver
from nas.metrics import make_problem, require_askable
from nas.profile import LatencyProfile
from nas.stages.context import Context


def search(context: Context) -> None:
    """Fills the archive; what it already holds is not evaluated again.

    Raises:
        InfeasibleError: If no architecture satisfies the constraints.
        RunError: If the search process failed.
    """
    experiment, run = context.experiment, context.run
    problem = make_problem(experiment, LatencyProfile.load(run.device))
    problem.require_feasible(np.random.default_rng(experiment.seed))
    require_askable(experiment, problem)
    # Tune's own files are not what a search resumes from: the archive is.
    shutil.rmtree(run.tune, ignore_errors=True)
    run_driver("nas.search_driver", context, context.ray_address or "")
