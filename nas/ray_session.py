"""Starting or joining Ray without dashboard, telemetry or surprises.

Ray reads part of its environment when it is imported, so a process that will drive it
is best started with `with_defaults`.

The machines of a cluster need the dependencies of this project, as from one image, at
the versions that are installed here. Its own packages travel with each run, so that all
machines work with the code that the command was started from, installed there or not.
"""

import contextlib
import importlib.util
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from nas.errors import RunError, UsageError

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
    # Evaluators are the work, not something beside it: at Ray's 15 they all but stop on
    # a machine where anything else runs.
    "RAY_worker_niceness": "0",
    # Changed defaults that Ray announces at each start.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

PACKAGES = ("kernels", "nas", "search", "supernets")
"""What processes on other machines import."""

KNOCK_SECONDS = 10.0
"""How long the head of a cluster may take to answer."""


@contextlib.contextmanager
def ray_session(
    address: str | None, *, cpus: int, heard: bool = False
) -> Iterator[None]:
    """Connects to a cluster, or starts Ray on this machine; leaves it at the end.

    Args:
        address: Of a cluster, as "auto"; ``None`` starts one here.
        cpus: Logical processors of a local one.
        heard: Whether what workers print is shown here.

    Raises:
        RunError: If there is no cluster at the address, or it cannot be joined.
        UsageError: If the address is one that cannot be used; see `check_address`.
    """
    check_address(address)
    os.environ.update(with_defaults(os.environ))
    # Imported here: it takes seconds, and reads the environment.
    import ray

    if address is None:
        ray.init(
            # Not any other Ray that happens to run on this machine.
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=heard,
            logging_level=logging.ERROR,
        )
    else:
        _join(address, heard=heard)
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str, *, heard: bool) -> None:
    import ray

    try:
        _knock(address)
        ray.init(
            address=address,
            log_to_driver=heard,
            logging_level=logging.ERROR,
            runtime_env={"py_modules": packages(), "excludes": ["__pycache__"]},
        )
    # An OSError if nobody answers; what Ray raises if versions differ, for one.
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"cannot join the Ray cluster at {address!r} ({error}); start one with "
            "`ray start --head`, or leave --ray-address out to search on this machine"
        ) from error


def _knock(address: str) -> None:
    """Makes sure that somebody answers, which Ray takes minutes to find out.

    Raises:
        OSError: If nobody does.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


def cluster_resources() -> dict[str, float]:
    """Returns what the Ray that this process is connected to has, by its names."""
    import ray

    return {name: float(amount) for name, amount in ray.cluster_resources().items()}


def packages() -> list[str]:
    """Returns the folders of this project's packages, wherever they are imported from.

    Raises:
        RunError: If one of them is not a folder.
    """
    found = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise RunError(f"the package {name!r} is not installed as a folder")
        found.append(str(Path(spec.origin).parent))
    return found


def check_address(address: str | None) -> None:
    """Refuses addresses of Ray Client.

    Raises:
        UsageError: If the address begins with "ray://".
    """
    if address is not None and address.startswith("ray://"):
        raise UsageError(
            f"--ray-address {address}: with Ray Client the search would write its "
            "archive on the cluster's machine and not here; run the same command on a "
            'machine of the cluster with --ray-address auto, or give "HOST:PORT"'
        )


def with_defaults(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment with what the person has not set."""
    return {**LOCAL_DEFAULTS, **environment}
