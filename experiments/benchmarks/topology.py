"""Compiles training steps for TPUs that are not here, and tells what they would hold.

    uv run --extra tpu python -m experiments.benchmarks.topology

The compiler of TPUs runs on any machine. It refuses a step that does not fit the memory
of the device, so a recipe that compiles has a batch, a mesh and a rematerialisation
that fit. Writes `experiments/results/topology.json`.
"""

import argparse
import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from kernels.executions import Execution
from nas.config import load_recipe
from nas.dry import layout_of, state_shapes
from nas.experiment import Experiment
from nas.forecast import step_memory
from nas.rundir import write_json
from supernets.sharding.memory import memory_of
from supernets.sharding.spec import Parallel

RESULTS = Path(__file__).parent.parent / "results"

COMMAND = "uv run --extra tpu python -m experiments.benchmarks.topology"

# What the TPU's library asks a cloud for unless it is told.
HOST = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A recipe on a slice.

    Attributes:
        recipe: Its module.
        slice: Name of the topology, as the TPU's compiler knows it.
        parallel: The axes there.
        accumulate: Parts of a batch there.
        execution: Of sampled subnets. Masked ones need the most memory, and compile
            many times faster than switched ones, of which each size is a body.
    """

    recipe: str
    slice: str
    parallel: Parallel
    accumulate: int = 1
    execution: Execution = "masked"


CASES = (
    Case(recipe="experiments.imagenet_vit", slice="v6e:2x4", parallel=Parallel()),
    Case(
        recipe="experiments.tokens_lm",
        slice="v5p:2x2x4",
        parallel=Parallel(fsdp=16),
        accumulate=8,
    ),
    Case(
        recipe="experiments.tokens_lm",
        slice="v5p:2x2x4",
        parallel=Parallel(fsdp=8, tensor=2),
        accumulate=8,
    ),
)


def main() -> None:
    """Compiles every case and records what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="RECIPE", help="modules to compile"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where the JSON goes"
    )
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    with _told_host():
        chosen = [c for c in CASES if not options.only or c.recipe in options.only]
        found = [_compiled(case, console) for case in chosen]
    write_json(options.results / "topology.json", {"command": COMMAND, "steps": found})


def _compiled(case: Case, console: Console) -> dict[str, Any]:
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="tpu", topology_name=case.slice)
    experiment = placed(load_recipe(case.recipe), case)
    start = time.monotonic()
    held = step_memory(experiment, topology.devices)
    seconds = time.monotonic() - start
    state = state_shapes(experiment)
    layout = layout_of(experiment, topology.devices)
    found = {
        **dataclasses.asdict(case),
        "devices": len(topology.devices),
        "compile_seconds": round(seconds, 1),
        "state_gb_per_device": round(memory_of(layout, state).per_device / 1e9, 3),
        "arguments_gb": round(held.arguments / 1e9, 3),
        "temporaries_gb": round(held.temporaries / 1e9, 3),
        "peak_gb": round(held.peak / 1e9, 3),
    }
    console.print(found)
    return found


def placed(experiment: Experiment, case: Case) -> Experiment:
    """Returns the experiment on the devices of a case."""
    train = dataclasses.replace(
        experiment.train, parallel=case.parallel, accumulate=case.accumulate
    )
    return dataclasses.replace(experiment, train=train, execution=case.execution)


@contextlib.contextmanager
def _told_host() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in HOST}
    os.environ.update(HOST)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main()
