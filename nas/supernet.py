"""The trained supernet of a run, loaded back."""

from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load_file

from nas.errors import RunError, UsageError
from nas.rundir import RunDirectory
from supernets.weights import set_weights


def load_supernet(run: RunDirectory) -> nnx.Module:
    """Returns the supernet with its trained weights, in host memory.

    Raises:
        UsageError: If the run has not been trained.
        RunError: If its weights are damaged.
    """
    if not run.supernet.exists():
        raise UsageError(
            f"{run.path} has no trained supernet yet: run `nas train` there first"
        )
    model = run.experiment().model
    supernet = nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))
    try:
        set_weights(supernet, load_file(run.supernet))
    except (ValueError, SafetensorError) as error:
        raise RunError(
            f"{run.supernet} is damaged ({error}); restore it, or train again in a "
            "new --out"
        ) from error
    return supernet
