"""Weights of other runs: what training starts from, and a teacher that is frozen."""

from pathlib import Path

import jax
from flax import nnx

from nas.errors import UsageError
from nas.experiment import Experiment
from nas.rundir import RunDirectory
from nas.supernet import load_supernet
from supernets.weights import Params, flat_weights, set_weights


def set_start(experiment: Experiment, supernet: nnx.Module) -> None:
    """Gives a supernet the weights that training starts from, if it is to have some.

    Raises:
        UsageError: If they are missing, or of a network of another shape.
    """
    if experiment.train.start:
        weights = flat_weights(_loaded("start", experiment.train.start, supernet))
        set_weights(supernet, jax.device_put(weights))


def frozen_teacher(experiment: Experiment, supernet: nnx.Module) -> Params | None:
    """Returns the weights of the frozen teacher, if there is one.

    Raises:
        UsageError: If they are missing, or of a network of another shape.
    """
    if not experiment.train.teacher:
        return None
    teacher = _loaded("teacher", experiment.train.teacher, supernet)
    return jax.device_put(nnx.state(teacher, nnx.Param))


def _loaded(field: str, path: str, supernet: nnx.Module) -> nnx.Module:
    """Returns a network like the supernet with the weights of another run."""
    run = RunDirectory(Path(path))
    weights = flat_weights(load_supernet(run))
    network = nnx.eval_shape(lambda: supernet)
    try:
        set_weights(network, weights)
    except ValueError as error:
        raise UsageError(
            f"train.{field} is {run.path}, whose supernet has another shape than this "
            f"one: {error}"
        ) from error
    return network
