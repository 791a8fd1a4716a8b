"""What `nas launch` may be told, and what of it each kind of cluster takes."""

import dataclasses
import re
from typing import Literal

Kind = Literal["ray", "kuberay", "slurm"]

NAME = re.compile(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?")
"""What Kubernetes takes as the name of a RayJob, and the other places too."""

MEMORY = re.compile(r"[1-9]\d*[MGT]")
TIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)")
SELECTOR = re.compile(r"[\w./-]+=[\w.-]+")

LEAST = {"workers": 0, "cpus_per_worker": 1, "gpus_per_worker": 0, "tpus_per_worker": 0}

EVERYWHERE = {"kind", "dry_run", "name"}
MACHINES = {"workers", "cpus_per_worker", "gpus_per_worker", "memory", "time"}
TAKEN = {
    "ray": {"cluster"},
    "kuberay": {
        *MACHINES,
        "image",
        "volume",
        "namespace",
        "tpus_per_worker",
        "node_selector",
    },
    "slurm": {*MACHINES, "partition", "account"},
}
"""The options of each kind; nothing that has no effect is accepted in silence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """Where a run is started, and on what machines.

    Raises:
        ValueError: If a value is not of the form that its field says, or has no
            meaning for this kind of cluster.
    """

    kind: Kind = "ray"
    """Submit to a Ray cluster that runs ("ray"), have KubeRay make one for this run
    ("kuberay"), or start one inside a Slurm job ("slurm")."""
    cluster: str | None = None
    """With ray: the cluster's dashboard, as http://HOST:8265; by default what the
    variable RAY_API_SERVER_ADDRESS says."""
    dry_run: bool = False
    """Only print what would be submitted."""
    name: str | None = None
    """Of the job; by default that of the recipe."""
    workers: int = 1
    """With kuberay and slurm: machines beside the head. The head trains, and with
    --ray-workers all of them do; --search.evaluators says how many evaluate subnets."""
    cpus_per_worker: int = 4
    """With kuberay and slurm: processors of each machine, the head too."""
    gpus_per_worker: int = 0
    """With kuberay and slurm: GPUs of each machine, the head too."""
    memory: str = "16G"
    """With kuberay and slurm: memory of each machine, the head too, as 16G or 512M."""
    time: str | None = None
    """With kuberay and slurm: when to end the job, as HH:MM:SS or D-HH:MM:SS; the same
    line launched again goes on from there."""
    image: str | None = None
    """With kuberay: the container image, which has this package and its Ray in it."""
    volume: str | None = None
    """With kuberay: the PersistentVolumeClaim for run directories, which all machines
    mount at /runs, so ReadWriteMany."""
    namespace: str | None = None
    """With kuberay: the namespace; by default that of kubectl."""
    tpus_per_worker: int = 0
    """With kuberay: TPU chips of each machine, the head too (google.com/tpu)."""
    node_selector: tuple[str, ...] = ()
    """With kuberay: labels KEY=VALUE of the nodes to run on, as
    cloud.google.com/gke-accelerator=nvidia-l4 or
    cloud.google.com/gke-tpu-topology=2x2."""
    partition: str | None = None
    """With slurm: the partition."""
    account: str | None = None
    """With slurm: the account that pays."""

    def __post_init__(self) -> None:
        self._check_taken()
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}"
                )
        patterns = (
            ("name", NAME, "lower-case letters, digits and '-', at most 47, as vit-2"),
            ("memory", MEMORY, "a whole number with M, G or T, as 16G"),
            ("time", TIME, "HH:MM:SS or D-HH:MM:SS, as 12:00:00"),
        )
        for name, pattern, legal in patterns:
            value = getattr(self, name)
            if value is not None and not pattern.fullmatch(value):
                raise ValueError(f"{name} is {value!r}; it must be {legal}")
        for selector in self.node_selector:
            if not SELECTOR.fullmatch(selector):
                raise ValueError(f"node_selector {selector!r} is not KEY=VALUE")

    def _check_taken(self) -> None:
        for field in dataclasses.fields(self):
            given = getattr(self, field.name) != field.default
            if given and field.name not in EVERYWHERE | TAKEN[self.kind]:
                flag = f"--{field.name.replace('_', '-')}"
                kinds = [kind for kind, names in TAKEN.items() if field.name in names]
                raise ValueError(
                    f"{flag} is for {' and '.join(kinds)}; --kind is {self.kind}"
                )

    @property
    def seconds(self) -> int | None:
        """The time in seconds."""
        match = TIME.fullmatch(self.time or "")
        if match is None:
            return None
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
