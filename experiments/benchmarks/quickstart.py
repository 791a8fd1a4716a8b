"""Runs the quick start as a newcomer does, and records what it took and found.

    uv run python -m experiments.benchmarks.quickstart

Writes `experiments/results/quickstart.json` and `quickstart.png`. Nothing else should
be running: the search and the measurements use every core.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.front import load_front, load_landmarks
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, read_json, write_json

RESULTS = Path(__file__).parent.parent / "results"

COMMAND = "uv run python -m experiments.benchmarks.quickstart"


def main() -> None:
    """Runs and records."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "quickstart")
        start = time.monotonic()
        line = [sys.executable, "-m", "nas", "run", "experiments.quickstart"]
        subprocess.run([*line, "--out", str(run.path)], check=True)
        seconds = time.monotonic() - start
        results = summary(run, seconds)
        write_json(RESULTS / "quickstart.json", results)
        shutil.copy(run.path / "front.png", RESULTS / "quickstart.png")
    Console().print(*readme_rows(results), sep="\n", highlight=False, soft_wrap=True)


def summary(run: RunDirectory, seconds: float) -> dict[str, Any]:
    """Returns what the README's table is made from."""
    front = load_front(run.front)
    profile = LatencyProfile.load(run.device)
    provenance = read_json(run.provenance)
    campaigns = json.loads(run.campaigns.read_text())
    return {
        "command": COMMAND,
        "machine": {
            "processor": provenance["processor"],
            "cores": os.cpu_count(),
            "python": provenance["python"],
            "packages": provenance["packages"],
        },
        "seconds": round(seconds, 1),
        "stages_seconds": run.finished(),
        "front": [
            {"id": member.id, **{n: round(v, 4) for n, v in member.metrics.items()}}
            for member in front
        ],
        "landmarks": {
            mark.label: {n: round(v, 4) for n, v in mark.metrics.items()}
            for mark in load_landmarks(run.landmarks)
        },
        "latency_error": profile.error
        and {
            "mape_percent": round(profile.error.mape_percent, 2),
            "within_10_percent": round(profile.error.within_10_percent, 1),
            "kendall_tau": round(profile.error.kendall_tau, 3),
        },
        "hypervolume": {
            name: round(history["hypervolume"][-1], 4)
            for name, history in campaigns.items()
        },
    }


def readme_rows(results: dict[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    front, marks = results["front"], results["landmarks"]
    error, volume = results["latency_error"], results["hypervolume"]
    machine = results["machine"]
    fastest, best = front[0], front[-1]
    largest = marks["largest"]
    speed = largest["latency_ms"] / best["latency_ms"]
    found = {
        "From the command to the report": f"{results['seconds']:.0f} s on "
        f"{machine['cores']} cores ({machine['processor']})",
        "Verified subnets on the front": f"{len(front)}, {fastest['latency_ms']:.2f} "
        f"to {best['latency_ms']:.2f} ms",
        "Test loss along the front": f"{fastest['test_loss']:.2f} to "
        f"{best['test_loss']:.2f} bits per byte",
        "Largest subnet": f"{largest['test_loss']:.2f} bits per byte; the best within "
        f"the limit is {speed:.1f} x as fast",
        "Latency model, held out": f"{error['mape_percent']:.1f}% mean error, "
        f"{error['within_10_percent']:.0f}% within 10%",
        "Hypervolume at equal evaluations": ", ".join(
            f"{name} {value:.3f}" for name, value in volume.items()
        ),
    }
    return [f"| {what} | {value} |" for what, value in found.items()]


if __name__ == "__main__":
    main()
