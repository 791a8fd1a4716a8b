"""Where a run comes from: versions, devices, git revision."""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import jax

PACKAGES = (
    "nas-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "ray",
    "numpy",
)


def provenance(*, command: str, seed: int, data_digest: str) -> dict[str, object]:
    """Returns what a reader needs to make the run again."""
    return {
        "command": command,
        "seed": seed,
        "data": data_digest,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "devices": [device.device_kind for device in jax.devices()],
        "backend": jax.default_backend(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": git_revision(),
    }


def processor() -> str:
    """Returns the model name of the processor, as the system tells it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_revision() -> str:
    """Returns the revision of this source tree, marked if changed; empty if none."""
    root = Path(__file__).parent.parent
    if shutil.which("git") is None:
        return ""

    def answer(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    if revision := answer("rev-parse", "--short=12", "HEAD"):
        changed = answer("status", "--porcelain", "--untracked-files=no")
        return f"{revision} with changes" if changed else revision
    return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
