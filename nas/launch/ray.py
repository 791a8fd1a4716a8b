"""Submitting a run to a Ray cluster that is there already."""

import importlib.util
import json
import os
import shlex

from nas.errors import UsageError
from nas.launch.job import Job, Submission

ADDRESS = "RAY_API_SERVER_ADDRESS"
"""The variable that Ray's own command asks for the cluster."""

EXCLUDED = (".git/", ".venv/", "runs/", "__pycache__/")
"""What is not copied to the cluster with this folder."""


def submission(job: Job) -> Submission:
    """Returns the `ray job submit` that copies this folder there and runs it.

    Raises:
        UsageError: If it is not said which cluster, or where a run is to be kept; or
            the recipe is not in this folder.
    """
    address = job.options.cluster or os.environ.get(ADDRESS)
    if not address:
        raise UsageError(
            "which cluster? Give --cluster http://HOST:8265, its dashboard, or set "
            f"{ADDRESS}; or another --kind to have one made"
        )
    if not address.startswith(("http://", "https://")):
        raise UsageError(
            f"--cluster is the dashboard of a cluster, as http://HOST:8265, not "
            f"{address!r}"
        )
    if job.out is None or not job.out.is_absolute():
        raise UsageError(
            "give --out as an absolute path on a disk that all machines of the cluster "
            "see: the job's own folder there is gone when it ends"
        )
    if job.is_file and (job.target.startswith("/") or ".." in job.target.split("/")):
        raise UsageError(
            f"recipe file {job.target} must lie in this folder, which is copied to the "
            "cluster; change to the folder it is in"
        )
    runtime = {"excludes": list(EXCLUDED), "env_vars": {"PYTHONUNBUFFERED": "1"}}
    line = (
        "ray",
        "job",
        "submit",
        "--address",
        address,
        "--working-dir",
        ".",
        "--runtime-env-json",
        json.dumps(runtime),
        "--metadata-json",
        json.dumps({"name": job.name}),
        "--",
        *job.with_arguments("--ray-address", "auto").line,
    )
    return Submission(text=shlex.join(line), line=line)


def require_extra() -> None:
    """Makes sure that Ray can submit jobs.

    Raises:
        UsageError: If the `launch` extra is not installed.
    """
    # With which Ray's own client says the same, less clearly.
    if importlib.util.find_spec("aiohttp") is None:
        raise UsageError(
            "submitting to a Ray cluster needs the `launch` extra: "
            "pip install 'nas-jax[launch]'"
        )
