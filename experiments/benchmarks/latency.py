"""Tells how well latency is predicted, on subnets that the model was not fitted to.

    uv run python -m experiments.benchmarks.latency

Measures extracted subnets of three supernets on this device, fits the latency model to
some of them and predicts the others, as `nas bench latency` does. Writes
`experiments/results/latency.json` and `latency.png`. Nothing else should be running.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from rich.console import Console

from experiments import digits_vit, quickstart
from experiments.benchmarks.arguments import positive
from experiments.benchmarks.latency_figure import latency_figure
from nas.experiment import Experiment, Latency
from nas.latency.measuring import measured_profile
from nas.profile import LatencyProfile, Measurement
from nas.provenance import processor
from nas.report import drawing
from nas.rundir import write_bytes, write_json
from supernets.decoder.spec import Decoder
from supernets.latency import summary
from supernets.vision.spec import VisionTransformer

RESULTS = Path(__file__).parent.parent / "results"
COMMAND = "uv run python -m experiments.benchmarks.latency"

FIT, HELD_OUT, ROUNDS = 40, 40, 150

TARGETS = {"mape_percent": 5.0, "within_10_percent": 95.0, "kendall_tau": 0.95}
"""At most the first, at least the others."""

WIDE = Decoder(
    width=(128, 192, 256),
    heads=(2, 4, 6, 8),
    ffn=(256, 512, 768, 1024),
    depth=(2, 4, 6),
)
VISION = VisionTransformer(
    image=(8, 8, 1),
    patch=1,
    width=(64, 96, 128),
    heads=(1, 2, 4),
    ffn=(128, 256, 384, 512),
    depth=(2, 4, 6),
)

EXPERIMENTS: dict[str, Experiment] = {
    "Quick start": quickstart.experiment,
    "Decoder of width 256": dataclasses.replace(quickstart.experiment, model=WIDE),
    "Vision transformer": dataclasses.replace(digits_vit.experiment, model=VISION),
}


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fit", type=positive, default=FIT, help="subnets to fit to")
    parser.add_argument(
        "--held-out", type=positive, default=HELD_OUT, help="to predict"
    )
    parser.add_argument(
        "--rounds", type=positive, default=ROUNDS, help="times each is run"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args()
    try:
        latency = Latency(
            batch=1, fit=options.fit, held_out=options.held_out, rounds=options.rounds
        )
        experiments = {
            name: dataclasses.replace(experiment, latency=latency)
            for name, experiment in EXPERIMENTS.items()
        }
    except ValueError as error:
        parser.error(str(error))
    console, load = Console(), os.getloadavg()[0]
    results = {
        "command": COMMAND,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "load_before": round(load, 2),
        },
        "fit": options.fit,
        "held_out": options.held_out,
        "rounds": options.rounds,
        "targets": TARGETS,
        "models": {
            name: assess(experiment, console=console)
            for name, experiment in experiments.items()
        },
    }
    write_json(options.out / "latency.json", results)
    figure = latency_figure(results)
    write_bytes(options.out / "latency.png", drawing.to_png(figure))
    console.print(*readme_rows(results), sep="\n", highlight=False, soft_wrap=True)


def assess(experiment: Experiment, *, console: Console) -> dict[str, Any]:
    """Measures a supernet's subnets, and says how well they are predicted."""
    began = time.perf_counter()
    supernet = experiment.model.build(rngs=nnx.Rngs(experiment.seed))
    profile = measured_profile(
        experiment, supernet, device=processor(), console=console
    )
    return {
        **told(experiment, profile),
        "seconds": round(time.perf_counter() - began, 1),
    }


def told(experiment: Experiment, profile: LatencyProfile) -> dict[str, Any]:
    """Returns what a profile measured, predicts, and how far both agree.

    Raises:
        ValueError: If every member was measured, which leaves nothing to predict.
    """
    if profile.error is None:
        raise ValueError("the space is too small: every member of it was measured")
    genotypes = np.asarray([m.genotype for m in profile.measurements], np.int32)
    predicted = profile.predict(genotypes, experiment.model)
    errors = dataclasses.asdict(profile.error)
    return {
        "error": {name: round(value, 3) for name, value in errors.items()},
        "reached": {name: reached(name, value) for name, value in errors.items()},
        "noise_percent": round(noise_percent(profile.measurements), 2),
        "subnets": [
            {
                "genotype": list(measurement.genotype),
                "role": measurement.role,
                "measured_ms": round(measurement.latency_ms, 4),
                "predicted_ms": round(float(value), 4),
            }
            for measurement, value in zip(profile.measurements, predicted, strict=True)
        ],
    }


def noise_percent(measurements: tuple[Measurement, ...]) -> float:
    """Returns how far two halves of the rounds differ, in percent: the mean of subnets.

    No model can be expected to be nearer to a measurement than another measurement.
    """
    samples = np.asarray([m.samples_ms for m in measurements])
    first, second = summary(samples[:, ::2]), summary(samples[:, 1::2])
    return 100 * float(np.mean(np.abs(first - second) / second))


def reached(name: str, value: float) -> bool:
    """Says whether an error is as good as its target."""
    target = TARGETS[name]
    return value <= target if name == "mape_percent" else value >= target


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    lines = []
    for name, found in results["models"].items():
        error = found["error"]
        measured = [subnet["measured_ms"] for subnet in found["subnets"]]
        lines.append(
            f"| {name}, {results['held_out']} held-out subnets of "
            f"{min(measured):.2f} to {max(measured):.2f} ms | "
            f"{error['mape_percent']:.1f}% mean error, "
            f"{error['within_10_percent']:.0f}% within 10%, "
            f"Kendall tau {error['kendall_tau']:.2f} |"
        )
    return lines


if __name__ == "__main__":
    main()
