"""Stage 1: train the supernet, and write its weights."""

import contextlib
from collections.abc import Callable

from flax import nnx
from safetensors.numpy import save

from nas.checkpoints import Checkpoints
from nas.drivers import run_driver
from nas.provenance import provenance
from nas.rundir import write_bytes, write_json
from nas.stages.context import Context
from nas.training.loop import Loop
from nas.training.store import Store
from supernets.weights import flat_weights, host_copy


def train(context: Context) -> None:
    """Trains to the last step, from the newest complete checkpoint if there is one.

    Raises:
        RunError: If a loss or gradient is not finite, or another process is gone.
        Stopped: If a signal asked for it; all steps so far are saved.
        UsageError: If weights of another run, to start or to learn from, do not fit, or
            the devices.
    """
    experiment, run = context.experiment, context.run
    if context.ray_workers:
        where = (context.ray_address or "", str(context.ray_workers), context.command)
        run_driver("nas.train_driver", context, *where)
        return
    loop = Loop.prepare(context)
    if context.hosts.first:
        write_json(
            run.provenance,
            provenance(
                command=context.command,
                seed=experiment.seed,
                data_digest=experiment.data.digest(),
            ),
        )
    with contextlib.ExitStack() as stack:
        saved = _copying(context, stack)
        checkpoints = Checkpoints(run.checkpoints, warn=context.warn, saved=saved)
        weights = loop.run(stack.enter_context(checkpoints))
    nnx.update(loop.supernet, weights)
    if context.hosts.first:
        write_bytes(run.supernet, save(host_copy(flat_weights(loop.supernet))))


def _copying(context: Context, stack: contextlib.ExitStack) -> Callable[[int], None]:
    """Returns what is told of each checkpoint, to copy it if it has to be.

    Raises:
        UsageError: If they cannot be copied, or the copies are of another run.
    """
    if context.store is None or not context.hosts.first:
        return lambda _: None
    store = Store(context.store, context.run, warn=context.warn)
    if (step := store.fetch()) is not None:
        context.tell(f"brought the checkpoint of step {step} from {context.store}")
    return stack.enter_context(store).add
