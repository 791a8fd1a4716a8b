"""The command `nas launch`: checks a run here, and starts it elsewhere."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from nas.errors import UsageError
from nas.launch import kuberay, ray, slurm
from nas.launch.job import Job, Submission
from nas.launch.options import NAME, Kind, LaunchOptions

SUBMISSIONS: Mapping[Kind, Callable[[Job], Submission]] = {
    "ray": ray.submission,
    "kuberay": kuberay.submission,
    "slurm": slurm.submission,
}

DESCRIPTION = """\
Starts `nas run TARGET` on a cluster. Beside the options here it takes all that
`nas run TARGET --help` lists; they are checked here and given to the run there.
TARGET is a recipe module or file. A run that was cut short goes on when the same line
is launched again.
"""


def parse(target: str, arguments: list[str]) -> tuple[LaunchOptions, list[str]]:
    """Returns the options of launching, and the arguments that are left for the run.

    Raises:
        UsageError: If one is wrong, or the target is a run directory.
    """
    import tyro

    if Path(target).is_dir():
        raise UsageError(
            f"{target} is a run directory: launch its recipe, with --out DIR as it is "
            "on the cluster, to go on with it there"
        )
    try:
        return tyro.cli(
            LaunchOptions,
            prog=f"nas launch {target}",
            description=DESCRIPTION,
            args=arguments,
            return_unknown_args=True,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def launch(
    target: str,
    arguments: list[str],
    *,
    out: Path | None,
    address: str | None,
    options: LaunchOptions,
) -> None:
    """Prints how a run is handed over, and hands it over.

    Args:
        target: The recipe.
        arguments: What the run is told, checked before.
        out: The run directory among them.
        address: That of a Ray cluster among them, which there must not be.
        options: Where to.

    Raises:
        UsageError: If it cannot be launched so.
        RunError: If the command that takes it fails.
    """
    if address is not None:
        raise UsageError(
            "--ray-address is for the launched job to find: it is always the cluster "
            "that the job runs on"
        )
    name = options.name or job_name(target)
    job = Job(
        target=target, arguments=tuple(arguments), out=out, name=name, options=options
    )
    submission = SUBMISSIONS[options.kind](job)
    sys.stdout.write(submission.text.rstrip("\n") + "\n")
    sys.stdout.flush()
    if options.dry_run:
        return
    if options.kind == "ray":
        ray.require_extra()
    submission.send()
    if submission.then:
        sys.stdout.write(f"{submission.then}\n")


def job_name(target: str) -> str:
    """Returns the name of the job of a recipe.

    Raises:
        UsageError: If the recipe's own does not do.
    """
    stem = Path(target).stem if target.endswith(".py") else target.rpartition(".")[2]
    name = stem.lower().replace("_", "-")
    if not NAME.fullmatch(name):
        raise UsageError(
            f"the recipe's name {stem!r} is not one for a job; give --name, of "
            "lower-case letters, digits and '-'"
        )
    return name
