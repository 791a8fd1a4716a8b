"""Stage 1: train the supernet, and write its weights."""

from flax import nnx
from safetensors.numpy import save

from nas.checkpoints import Checkpoints
from nas.provenance import provenance
from nas.rundir import write_bytes, write_json
from nas.stages.context import Context
from nas.training.loop import Loop
from supernets.weights import flat_weights, host_copy


def train(context: Context) -> None:
    """Trains to the last step, from the newest complete checkpoint if there is one.

    Raises:
        RunError: If a loss or gradient is not finite.
        UsageError: If weights of another run, to start or to learn from, do not fit.
    """
    experiment, run = context.experiment, context.run
    loop = Loop.prepare(context)
    write_json(
        run.provenance,
        provenance(
            command=context.command,
            seed=experiment.seed,
            data_digest=experiment.data.digest(),
        ),
    )
    with Checkpoints(run.checkpoints, warn=context.warn) as checkpoints:
        state = loop.run(checkpoints)
    nnx.update(loop.supernet, state.params)
    write_bytes(run.supernet, save(host_copy(flat_weights(loop.supernet))))
