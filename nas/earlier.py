"""Results of former searches, set aside when a run is searched again.

``DIR/earlier/N`` holds what search N left, with the configuration that it came from.
The archive stays where it is: no subnet is evaluated twice.
"""

import shutil
from pathlib import Path

from nas.rundir import RunDirectory, write_bytes, write_json

LASTING = ("train", "calibrate")
"""Stages that a search builds on; what comes after them is done again."""


def lasting(finished: dict[str, float]) -> dict[str, float]:
    """Returns the finished stages that another search leaves finished."""
    return {name: finished[name] for name in LASTING if name in finished}


def has_results(run: RunDirectory) -> bool:
    """Says whether a search left something here that another one would replace."""
    return any(path.exists() for path in _results(run)) or bool(_of_search(run))


def set_aside(run: RunDirectory) -> Path:
    """Moves the results to a folder of their own, and returns it.

    Killed at any moment, it leaves either everything as it was, or a move that
    `finish_move` completes: what decides is that the new folder has a configuration.
    """
    names = (entry.name for entry in run.earlier.glob("*"))
    numbers = [int(name) for name in names if name.isdigit()]
    folder = run.earlier / f".{max(numbers, default=0) + 1}"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / run.stages.name, _of_search(run))
    write_bytes(folder / run.config.name, run.config.read_bytes())
    return _move(run, folder)


def finish_move(run: RunDirectory) -> None:
    """Completes what a killed `set_aside` has begun, if there is such a thing."""
    for folder in run.earlier.glob(".[0-9]*"):
        if (folder / run.config.name).exists():
            _move(run, folder)
        else:
            shutil.rmtree(folder)


def _move(run: RunDirectory, folder: Path) -> Path:
    for path in _results(run):
        if path.exists():
            path.replace(folder / path.name)
    write_json(run.stages, lasting(run.finished()))
    return folder.replace(folder.with_name(folder.name.removeprefix(".")))


def _of_search(run: RunDirectory) -> dict[str, float]:
    """Returns the finished stages that another search does again."""
    finished = run.finished()
    return {name: finished[name] for name in finished if name not in LASTING}


def _results(run: RunDirectory) -> tuple[Path, ...]:
    return (
        run.campaigns,
        run.front,
        run.landmarks,
        run.predictors,
        run.finetuned,
        run.subnets,
        run.report,
        run.picture,
    )
