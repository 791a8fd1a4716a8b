"""Stage 3: search the trained supernet, in a process that Ray may fork."""

import os
import shutil
import subprocess
import sys

import numpy as np

from nas.errors import RunError
from nas.metrics import make_problem
from nas.profile import LatencyProfile
from nas.ray_session import with_defaults
from nas.stages.context import Context

INTERRUPTED = 130


def search(context: Context) -> None:
    """Fills the archive; what it already holds is not evaluated again.

    Raises:
        InfeasibleError: If no architecture satisfies the constraints.
        RunError: If the search process failed.
    """
    experiment, run = context.experiment, context.run
    problem = make_problem(experiment, LatencyProfile.load(run.device))
    problem.require_feasible(np.random.default_rng(experiment.seed))
    # Tune's own files are not what a search resumes from: the archive is.
    shutil.rmtree(run.tune, ignore_errors=True)
    command = [sys.executable, "-m", "nas.search_driver", str(run.path)]
    process = subprocess.Popen(
        [*command, context.ray_address or ""],
        pass_fds=(context.lock,),
        # Given at birth, because Ray reads some of it while it is imported.
        env=with_defaults(os.environ),
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise RunError(
            f"the search process ended with code {code} (its message is above); what "
            "was evaluated is kept: run the same command again to go on"
        )
