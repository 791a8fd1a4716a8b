"""A training step on shapes alone: lowered or compiled, with no weights and no data.

The devices need not be here: those of a TPU topology do, where its compiler is
installed (`jax.experimental.topologies`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import PyTree

from nas.data.dataset import Dataset
from nas.errors import UsageError
from nas.experiment import Experiment
from nas.training.steps import train_steps
from supernets.losses.loss import Batch
from supernets.sharding.layout import EXAMPLES, Layout
from supernets.training import TrainState, initial_state


def state_shapes(experiment: Experiment) -> TrainState:
    """Returns the shapes of a training's state."""
    train = experiment.train
    optimizer = train.optimizer.transform(train.steps)
    return jax.eval_shape(
        lambda: initial_state(
            experiment.model.build(rngs=nnx.Rngs(0)),
            optimizer,
            averaged=bool(train.average),
        )
    )


def layout_of(
    experiment: Experiment, devices: Sequence[jax.Device] | None = None
) -> Layout | None:
    """Returns where a training's state lies; none on one device.

    Args:
        experiment: Which training.
        devices: That train; those that are here if not given.

    Raises:
        UsageError: If the devices do not fit the axes, or these the supernet.
    """
    try:
        return Layout.of(experiment.train.parallel, _supernet(experiment), devices)
    except ValueError as error:
        raise UsageError(f"train.parallel: {error}") from error


def lower_step(
    experiment: Experiment,
    devices: Sequence[jax.Device] | None = None,
    *,
    phase: int = -1,
) -> jax.stages.Lowered:
    """Returns the lowered step of a phase, to compile for its cost and memory.

    Args:
        experiment: Which training.
        devices: That train; those that are here if not given.
        phase: Number of the phase; by default the last.

    Raises:
        UsageError: If the devices do not fit the axes, or these the supernet.
    """
    state, layout = state_shapes(experiment), layout_of(experiment, devices)
    plan, train = experiment.plan(), experiment.train
    phase %= len(train.phases)
    size = train.phases[phase].batch_size(plan.whole, train.batch)
    batch = _batch(experiment.data, size)
    if layout is not None:
        state = _placed(state, layout.shardings(state))
        spread = NamedSharding(layout.mesh, EXAMPLES)
        batch = jax.tree.map(functools.partial(_on, sharding=spread), batch)
    number = plan.starts[phase]
    optimizer = train.optimizer.transform(train.steps)
    steps = train_steps(experiment, _supernet(experiment), optimizer, layout)
    return steps[phase].lower(state, batch, plan.step(number).draw, number)


def _supernet(experiment: Experiment) -> nnx.Module:
    return nnx.eval_shape(lambda: experiment.model.build(rngs=nnx.Rngs(0)))


def _batch(data: Dataset, size: int) -> Batch:
    """Returns the shapes of a batch: of a class for each token, or for each image."""
    example, classes = data.example, data.classes
    inputs = jax.ShapeDtypeStruct((size, *example), data.dtype)
    one = jax.ShapeDtypeStruct((size, *example[: len(example) % 3]), np.int32)
    targets = one if isinstance(classes, int) else dict.fromkeys(classes, one)
    shapes: Any = inputs, targets
    return Batch(*shapes)


def _placed(tree: PyTree, shardings: PyTree) -> PyTree:
    return jax.tree.map(_on, tree, shardings)


def _on(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
