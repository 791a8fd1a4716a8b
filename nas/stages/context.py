"""What every stage is given."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from nas.experiment import Experiment
from nas.hosts import ALONE, Hosts
from nas.latency.devices import gathered_devices, given_profile
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory
from nas.training.events import EventWriter
from nas.training.log import Sink


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """One run as a stage sees it.

    Attributes:
        experiment: What the run does.
        run: Where it writes.
        console: Where it speaks to a person.
        command: The line that started it, for the record.
        latency_profile: A device profile to use instead of measuring.
        device_files: Profiles of further devices, by name.
        ray_address: A Ray cluster to search on; ``None`` starts one here.
        lock: Descriptor of the run directory's lock, for child processes.
        tensorboard: Whether training also writes events for TensorBoard.
        profile: Whether training writes a trace of a few steps.
        hosts: The processes that train together.
        ray_workers: How many processes of Ray train, instead of this one.
        store: Where checkpoints are copied to as well.
    """

    experiment: Experiment
    run: RunDirectory
    console: Console
    command: str
    latency_profile: Path | None = None
    device_files: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    ray_address: str | None = None
    lock: int = -1
    tensorboard: bool = False
    profile: bool = False
    hosts: Hosts = ALONE
    ray_workers: int | None = None
    store: str | None = None

    @property
    def trace(self) -> Path | None:
        """Where a trace of the training goes, if one is wanted."""
        return self.run.trace if self.profile else None

    def sinks(self) -> tuple[Sink, ...]:
        """Returns what is given every line of the training log too."""
        wanted = self.tensorboard and self.hosts.first
        return (EventWriter(self.run.events),) if wanted else ()

    def given_profile(self) -> LatencyProfile | None:
        """Returns the profile that is used instead of measuring, if one is.

        Raises:
            UsageError: If it is damaged, or of another space or input.
        """
        if self.latency_profile is None:
            return None
        return given_profile(self.experiment, self.latency_profile)

    def devices(self) -> dict[str, LatencyProfile]:
        """Returns the profiles of further devices, by name.

        Raises:
            UsageError: If one is missing, damaged, of another space or input, or not
                what the run was begun with.
        """
        return gathered_devices(self.experiment, self.run, self.device_files)

    def tell(self, message: str) -> None:
        """Tells the person how things go."""
        # Paths that are wrapped cannot be copied.
        self.console.print(message, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Tells the person about something that was survived."""
        self.console.print(f"warning: {message}", style="yellow", highlight=False)
