"""What users call: run an experiment and read what it found."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas.experiment import Experiment
from nas.front import Member, load_front
from nas.rundir import RunDirectory

if TYPE_CHECKING:
    from flax import nnx


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        path: Its directory.
        front: The verified Pareto front, in the order of the first objective that is
            known without an evaluation: of latency, the fastest subnet first.
    """

    path: Path
    front: tuple[Member, ...]

    def load(self, member: Member) -> "nnx.Module":
        """Returns a subnet as a plain `flax.nnx` module."""
        return load_subnet(self.path / "subnets" / member.id)


def run(
    experiment: Experiment,
    out: Path | str,
    *,
    latency_profile: Path | str | None = None,
    devices: Mapping[str, Path | str] | None = None,
    ray_address: str | None = None,
) -> Result:
    """Trains, searches, verifies, exports and reports; resumes what was interrupted.

    Args:
        experiment: What to do.
        out: The run directory, new or of the same experiment.
        latency_profile: A ``device.json`` to use instead of measuring this device.
        devices: Profiles of further devices, by name: ``phone`` gives the metric
            ``latency_ms_phone``.
        ray_address: A Ray cluster, as "auto"; by default Ray is started here.

    Raises:
        UsageError: If the directory holds a run of another configuration.
        InfeasibleError: If no architecture satisfies the constraints.
        RunError: If the run cannot go on; the message says what to do.
    """
    # Imported here so that `import nas` stays light.
    from rich.console import Console

    from nas.job import STAGES, run_stages

    run_stages(
        experiment,
        Path(out),
        STAGES,
        console=Console(),
        command=f"nas.run(experiment, {str(out)!r})",
        latency_profile=None if latency_profile is None else Path(latency_profile),
        device_files={name: Path(file) for name, file in (devices or {}).items()},
        ray_address=ray_address,
    )
    return load_run(out)


def load_run(path: Path | str) -> Result:
    """Reads a finished run.

    Raises:
        UsageError: If the directory holds none.
    """
    directory = RunDirectory(Path(path))
    return Result(directory.path, tuple(load_front(directory.front)))


def load_subnet(folder: Path | str) -> "nnx.Module":
    """Returns an exported subnet as a plain `flax.nnx` module.

    Raises:
        UsageError: If the folder holds no exported subnet.
    """
    from nas import export

    return export.load_subnet(folder)
