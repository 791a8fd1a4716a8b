"""The command `nas`: parses, delegates, and turns errors into exit codes.

Nothing heavy is imported before it is known what to do: `nas --help` answers at once.
"""

import argparse
import dataclasses
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

if TYPE_CHECKING:
    from nas.experiment import Experiment

BENCH_LATENCY = "bench latency"
"""A command of two words; what comes after it is its target."""

COMMANDS = {
    "run": ("train", "calibrate", "search", "verify", "finetune", "export", "report"),
    "train": ("train",),
    "bench": ("calibrate",),
    "search": ("search", "verify"),
    "export": ("verify", "finetune", "export"),
    "report": ("report",),
}

HELP = {
    "run": "do everything: train, search, verify, export, report",
    "show": "print the space and its costs, spending nothing",
    "train": "train the supernet",
    "bench": "measure this device's latency and fit its model, in a trained run",
    BENCH_LATENCY: "measure a device, or import what is known of one, to a file",
    "search": "search a trained and measured supernet, and print the verified front",
    "export": "verify the front, fine-tune and export its subnets",
    "report": "write report.html and front.png; of several DIRs, a comparison",
    "launch": "start a run on a Ray cluster, on Kubernetes or in a Slurm job",
}

AnyOptions = TypeVar("AnyOptions")

EPILOG = """\
TARGET is a recipe module (experiments.quickstart), a recipe file (mine.py), or the
directory of a run. Every field of a recipe is an option: `nas run TARGET --help` lists
them. Running the same line again resumes.

exit codes: 0 done; 1 failed; 2 wrong usage; 3 no architecture satisfies constraints;
130 stopped by Ctrl-C and 143 by SIGTERM, which both let training save first
"""

DONE, FAILED, WRONG_USAGE, INFEASIBLE, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code."""
    code = _guarded(sys.argv[1:] if arguments is None else list(arguments))
    if code != DONE:
        _leave_others(code)
    sys.exit(code)


def _leave_others(code: int) -> None:
    """Exits at once if this is one of several processes that train together.

    At a usual exit JAX waits for the others, and if one of them is gone it aborts this
    one with pages of its own instead of the message that was given.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _guarded(arguments: list[str]) -> int:
    parser = _parser()
    if " ".join(arguments[:2]) == BENCH_LATENCY:
        arguments = [BENCH_LATENCY, *arguments[2:]]
    # Only the command and target are parsed here: the rest depends on the recipe.
    known, rest = parser.parse_known_args(arguments[:2])
    rest += arguments[2:]
    if known.command is None:
        parser.print_help()
        return DONE
    try:
        if known.command == "launch":
            return _launch(known.target, rest)
        return _dispatch(known.command, known.target, rest)
    except KeyboardInterrupt:
        _say("stopped; run the same command again to go on")
        return INTERRUPTED
    except Exception as error:
        return _explain(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nas",
        description="Neural architecture search and supernet training in JAX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in HELP.items():
        # The help of launching is that of its options, without a target too.
        launches = name == "launch"
        command = commands.add_parser(
            name, help=text, description=text, add_help=not launches
        )
        command.add_argument(
            "target",
            metavar="TARGET",
            nargs="?" if launches else None,
            help="recipe or run directory",
        )
    return parser


@dataclasses.dataclass(frozen=True)
class Options:
    """Where a run is written and what it uses of this machine."""

    out: Path | None = None
    """Run directory; by default runs/NAME, or the target if it is a run."""
    latency_profile: tuple[str, ...] = ()
    """A profile to use instead of measuring this device; and as NAME=FILE those of
    further devices, whose latency is then "latency_ms_NAME"."""
    ray_address: str | None = None
    """Ray cluster to search on, as "auto"; by default Ray is started here."""
    compile: bool = False
    """With `nas show`: compile the training step too, and tell the memory it takes."""
    tensorboard: bool = False
    """Also write what training tells as events for TensorBoard, to DIR/tensorboard."""
    profile: bool = False
    """Trace a few training steps, to DIR/profile (TensorBoard's profiler, Perfetto)."""
    store: str | None = None
    """Where checkpoints are copied to as well, as s3://BUCKET/NAME or any URL that
    fsspec opens; a training that has none here goes on from the newest there."""
    ray_workers: int | None = None
    """Train with that many processes of Ray Train, one for each machine of the cluster
    at --ray-address; lost ones are replaced. DIR must be on all of the machines."""
    coordinator: str | None = None
    """HOST:PORT of the first of several processes that train together, each started
    with the same command; "auto" asks Slurm, Open MPI, Kubernetes or the TPU."""
    processes: int | None = None
    """How many processes train together, unless the cluster knows."""
    process: int | None = None
    """Number of this one of them, from 0, unless the cluster knows."""


def _dispatch(command: str, target: str, rest: list[str]) -> int:
    from rich.console import Console

    from nas.config import load_recipe
    from nas.rundir import RunDirectory

    directory = Path(target)
    is_run = directory.is_dir() and not target.endswith(".py")
    if command == "report" and rest and not rest[0].startswith("-"):
        return _compare([target, *rest])
    experiment = RunDirectory(directory).experiment() if is_run else load_recipe(target)
    if command == BENCH_LATENCY:
        return _bench(target, experiment, rest, is_run=is_run)
    fields = rest
    if command == "search" and is_run:
        from nas.search_options import parse_search

        experiment, fields = parse_search(experiment, rest)
    options, experiment = _parse_options(command, target, experiment, fields)
    from nas.hosts import join

    hosts = join(options.coordinator, options.processes, options.process)
    console = Console(stderr=False, quiet=not hosts.first)
    from nas.latency.devices import given_files

    profile, device_files = given_files(options.latency_profile)
    if command == "show":
        from nas.latency.devices import known_profiles
        from nas.metrics import CheapMetrics
        from nas.show import show

        run = RunDirectory(directory) if is_run else None
        known = known_profiles(experiment, profile, device_files, run)
        cheap = CheapMetrics.of(experiment, *known)
        show(experiment, console, compiled=options.compile, cheap=cheap)
        return DONE
    out = options.out or (directory if is_run else Path("runs") / _name(target))
    from nas.job import print_front, run_stages

    run_stages(
        experiment,
        out,
        COMMANDS[command],
        console=console,
        command=" ".join(["nas", command, target, *rest]),
        latency_profile=profile,
        device_files=device_files,
        ray_address=options.ray_address,
        tensorboard=options.tensorboard,
        profile=options.profile,
        hosts=hosts,
        ray_workers=options.ray_workers,
        store=options.store,
    )
    if command in ("run", "search", "report", "export") and hosts.first:
        print_front(RunDirectory(out), console)
    return DONE


def _launch(target: str | None, rest: list[str]) -> int:
    from nas.config import load_recipe
    from nas.errors import UsageError
    from nas.launch.command import launch, parse

    where, arguments = parse(target or "TARGET", rest)
    if target is None:
        raise UsageError("give the recipe first: nas launch TARGET ...")
    options, _ = _parse_options("run", target, load_recipe(target), arguments)
    launch(
        target,
        arguments,
        out=options.out,
        address=options.ray_address,
        options=where,
    )
    return DONE


def _compare(arguments: list[str]) -> int:
    """Writes the page that compares several runs."""
    from rich.console import Console

    from nas.comparison import compare

    parser = argparse.ArgumentParser(prog="nas report", allow_abbrev=False)
    parser.add_argument("directories", metavar="DIR", nargs="+", type=Path)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("comparison.html"),
        help="the page, by default comparison.html here",
    )
    found = parser.parse_args(arguments)
    compare(found.directories, found.out, Console(stderr=False))
    return DONE


def _bench(
    target: str, experiment: "Experiment", rest: list[str], *, is_run: bool
) -> int:
    """Writes the latency profile of a device."""
    from rich.console import Console

    from nas.latency.bench import BenchOptions, bench_latency
    from nas.rundir import RunDirectory

    options, experiment = _parsed(BENCH_LATENCY, target, experiment, rest, BenchOptions)
    run = RunDirectory(Path(target)) if is_run else None
    bench_latency(experiment, options, Console(stderr=False), run=run)
    return DONE


def _parse_options(
    command: str, target: str, experiment: "Experiment", rest: list[str]
) -> tuple[Options, "Experiment"]:
    """Parses the options that every recipe has and the fields of this one."""
    return _parsed(command, target, experiment, rest, Options)


def _parsed(
    command: str,
    target: str,
    experiment: "Experiment",
    rest: list[str],
    kind: type[AnyOptions],
) -> tuple[AnyOptions, "Experiment"]:
    """Parses options of a kind and the fields of a recipe."""
    import tyro

    from nas.errors import UsageError
    from nas.experiment import Experiment
    from nas.search_options import HELP as IN_SHORT

    parts = {"options": kind, "experiment": Experiment}
    fields = [(n, Annotated[part, tyro.conf.arg(name="")]) for n, part in parts.items()]
    request_type = dataclasses.make_dataclass("Request", fields, frozen=True)
    try:
        request = tyro.cli(
            request_type,
            prog=f"nas {command} {target}",
            description=IN_SHORT if command == "search" else HELP[command],
            default=request_type(kind(), experiment),
            args=rest,
            config=(tyro.conf.AvoidSubcommands,),
        )
    # Tyro tells what one part refuses, and leaves what only the whole does to us.
    except ValueError as error:
        raise UsageError(str(error)) from error
    return request.options, request.experiment


def _name(target: str) -> str:
    return Path(target).stem if target.endswith(".py") else target.rpartition(".")[2]


def _explain(error: Exception) -> int:
    """Prints what went wrong for a person and returns the exit code.

    Raises:
        Exception: The error itself, if nobody foresaw it: then the trace is wanted.
    """
    from kernels.executions import ExecutionError
    from nas.errors import RunError, Stopped, UsageError
    from search.constraints import InfeasibleError

    if isinstance(error, Stopped):
        _say(str(error))
        return error.code
    if isinstance(error, UsageError | ExecutionError):
        _say(str(error))
        return WRONG_USAGE
    if isinstance(error, InfeasibleError):
        _say(str(error))
        return INFEASIBLE
    if isinstance(error, RunError):
        _say(str(error))
        return FAILED
    if full := _full_disk(error):
        _say(
            f"the disk is full{full}; nothing finished is lost: free some space and "
            "run the same command again"
        )
        return FAILED
    raise error


def _full_disk(error: BaseException) -> str:
    """Returns where the disk is full, if that is what an error comes from."""
    for cause in _causes(error):
        full = isinstance(cause, OSError) and cause.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
        )
        if full or "No space left on device" in str(cause):
            name = getattr(cause, "filename", None)
            return f" ({name})" if name else " (while writing)"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _say(message: str) -> None:
    print(f"nas: {message}", file=sys.stderr)  # noqa: T201 - this is the command
