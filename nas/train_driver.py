"""The process that trains on Ray: `python -m nas.train_driver DIR ADDRESS COUNT LINE`.

Ray Train starts the workers, tells them of each other, and starts all of them again
when one is lost; they go on from the last checkpoint. The run directory must be at the
same path on every machine.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.drivers import drive, end_with_parent
from nas.ray_session import ray_session
from nas.rundir import RunDirectory

RESTARTS = 3
"""How often lost workers are replaced before the run gives up."""


def main(arguments: Sequence[str]) -> None:
    """Trains a claimed run directory."""
    end_with_parent()
    directory, address, count, command = arguments
    workers, run = int(count), RunDirectory(Path(directory))
    with ray_session(address or None, cpus=workers + 1, heard=True):
        # Imported here: it reads the environment that the session sets.
        import ray
        from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
        from ray.train.v2.jax import JaxTrainer
        from ray.train.v2.jax.config import JaxConfig

        gpus = int(ray.cluster_resources().get("GPU", 0))
        # One worker for each machine has all of its GPUs.
        resources = (
            {"CPU": 1.0, "GPU": float(gpus // workers)} if gpus else {"CPU": 1.0}
        )
        trainer = JaxTrainer(
            work,
            train_loop_config={"run": directory, "command": command},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources
            ),
            # Without this Ray leaves processes on CPUs to train alone.
            jax_config=JaxConfig(use_gpu=True),
            run_config=RunConfig(
                name="train",
                storage_path=str(run.tune),
                failure_config=FailureConfig(max_failures=RESTARTS),
                worker_runtime_env={}
                if gpus
                else {"env_vars": {"JAX_PLATFORMS": "cpu"}},
            ),
        )
        trainer.fit()


def work(config: dict[str, Any]) -> None:
    """Trains as one of the workers, which know of each other by now."""
    import jax
    from rich.console import Console

    from nas.allocator import keep_memory
    from nas.hosts import Hosts
    from nas.stages.context import Context
    from nas.stages.train import train

    keep_memory()
    hosts = Hosts(index=jax.process_index(), count=jax.process_count())
    run = RunDirectory(Path(config["run"]))
    train(
        Context(
            experiment=run.experiment(),
            run=run,
            console=Console(quiet=not hosts.first),
            command=config["command"],
            hosts=hosts,
        )
    )


if __name__ == "__main__":
    drive(main)
