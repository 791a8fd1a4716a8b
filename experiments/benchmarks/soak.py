"""Kills one training at random moments, again and again, and compares what comes out.

    uv run python -m experiments.benchmarks.soak

One training runs to its end undisturbed. Another, of the same recipe, is killed with
SIGKILL at random moments, as often as asked, each time started again with the same
command, and at last left alone. Both must end with the same weights, bit for bit, and
the same log. Writes `experiments/results/soak.json`.
"""

import argparse
import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.benchmarks.arguments import positive
from nas.progress import progress
from nas.rundir import RunDirectory, read_json, write_json

RESULTS = Path(__file__).parent.parent / "results"

COMMAND = "uv run python -m experiments.benchmarks.soak"

RECIPE = "experiments.quickstart"
SMALL = {
    "--model.width": "16 32",
    "--model.heads": "1 2",
    "--model.ffn": "16 32 64",
    "--model.depth": "1 2",
    "--model.head-dim": "8",
    "--train.batch": "4",
    "--train.checkpoint-every": "7",
    "--train.validate-every": "25",
}
"""A supernet that trains many steps in a second: kills fall into all of its work."""

KILLS, STEPS = 24, 600


@dataclasses.dataclass(frozen=True, kw_only=True)
class Life:
    """One process of the training that is killed.

    Attributes:
        seconds: After which it was killed.
        step: Of the newest complete checkpoint then.
    """

    seconds: float
    step: int


def main() -> None:
    """Runs both trainings and records what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=positive, default=KILLS, help="how many")
    parser.add_argument("--steps", type=positive, default=STEPS, help="of the training")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--devices",
        type=positive,
        default=1,
        help="virtual devices that share the batch",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where the JSON goes"
    )
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        results = soak(Path(folder), options, console)
    write_json(options.results / "soak.json", results)
    if not results["same_weights"] or not results["same_log"]:
        raise SystemExit("the killed training ended with other weights, or another log")
    console.print(
        f"{results['kills']} kills, {options.devices} devices: same weights "
        f"({results['weights_sha256'][:12]}), same log"
    )


def soak(folder: Path, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Returns what happened.

    Args:
        folder: For both runs.
        options: Of the command.
        console: Where progress is shown.
    """
    whole, killed = (RunDirectory(folder / name) for name in ("whole", "killed"))
    environment = {
        **os.environ,
        # A process that lives for seconds should not spend them on compiling.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={options.devices}",
    }
    # The first fills the cache of programs, the second tells how long things take.
    _undisturbed(RunDirectory(folder / "cache"), options, environment)
    pace = _undisturbed(whole, options, environment)
    lives = list[Life]()
    moments = random.Random(options.seed)
    with progress(console, "soak", options.kills, "kills") as update:
        while len(lives) < options.kills:
            lives.append(_life(killed, options, environment, moments, pace))
            update(len(lives), f"step {lives[-1].step} of {options.steps}")
    subprocess.run(_line(killed, options), env=environment, check=True)
    digests = [hashlib.sha256(r.supernet.read_bytes()) for r in (whole, killed)]
    return {
        "command": COMMAND,
        "processor": read_json(whole.provenance)["processor"],
        "packages": read_json(whole.provenance)["packages"],
        "steps": options.steps,
        "devices": options.devices,
        "kills": len(lives),
        "lives": [dataclasses.asdict(life) for life in lives],
        "same_weights": digests[0].digest() == digests[1].digest(),
        "same_log": whole.metrics.read_bytes() == killed.metrics.read_bytes(),
        "weights_sha256": digests[0].hexdigest(),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """How long an undisturbed training takes.

    Attributes:
        start: Seconds until its first checkpoint is complete.
        rest: Seconds after that.
    """

    start: float
    rest: float


def _undisturbed(
    run: RunDirectory, options: argparse.Namespace, environment: dict[str, str]
) -> Pace:
    start = time.monotonic()
    process = subprocess.Popen(_line(run, options), env=environment)
    first = 0.0
    while process.poll() is None:
        time.sleep(0.05)
        if not first and run.checkpoint_steps():
            first = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"the undisturbed training ended with {process.returncode}")
    return Pace(start=first, rest=time.monotonic() - start - first)


def _life(
    run: RunDirectory,
    options: argparse.Namespace,
    environment: dict[str, str],
    moments: random.Random,
    pace: Pace,
) -> Life:
    """Starts the training and kills it; returns when, and what was complete then.

    Every other life ends while it starts, restores or compiles. The others end while
    they train, some time after they have completed a checkpoint, and so early that all
    of them together would not finish the training.
    """
    before, start = max(run.checkpoint_steps(), default=0), time.monotonic()
    process = subprocess.Popen(
        _line(run, options),
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    early = moments.random() < 0.5
    if early:
        time.sleep(moments.uniform(0.1, 1.0) * pace.start)
    else:
        while (
            process.poll() is None and max(run.checkpoint_steps(), default=0) <= before
        ):
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 1.2) * pace.rest / options.kills)
    if process.poll() is not None:
        raise SystemExit(
            f"the training ended (code {process.returncode}) before it was killed "
            "often enough; give more --steps"
        )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    seconds = round(time.monotonic() - start, 2)
    return Life(seconds=seconds, step=max(run.checkpoint_steps(), default=0))


def _line(run: RunDirectory, options: argparse.Namespace) -> list[str]:
    line = [sys.executable, "-m", "nas", "train", RECIPE, "--out", str(run.path)]
    line += ["--train.steps", str(options.steps)]
    for flag, values in SMALL.items():
        line += [flag, *values.split()]
    return line


if __name__ == "__main__":
    main()
