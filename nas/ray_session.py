"""Starting or joining Ray without dashboard, telemetry or surprises.

Ray reads part of its environment when it is imported, so a process that will drive it
is best started with `with_defaults`.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping

LOCAL_DEFAULTS = {
    # No reports to anyone.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would ship the folder and resolve the project in every worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # The run directory has its own records.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Ctrl-C must end the search here, not be taken for a finished one.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # One line of our own instead of Tune's tables.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Changed defaults that Ray announces at each start.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextlib.contextmanager
def ray_session(
    address: str | None, *, cpus: int, heard: bool = False
) -> Iterator[None]:
    """Connects to a cluster, or starts Ray on this machine; leaves it at the end.

    Args:
        address: Of a cluster, as "auto"; ``None`` starts one here.
        cpus: Logical processors of a local one.
        heard: Whether what workers print is shown here.
    """
    os.environ.update(with_defaults(os.environ))
    # Imported here: it takes seconds, and reads the environment.
    import ray

    if address is None:
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=heard,
            logging_level=logging.ERROR,
        )
    else:
        ray.init(address=address, log_to_driver=heard, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def with_defaults(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment with what the person has not set."""
    return {**LOCAL_DEFAULTS, **environment}
