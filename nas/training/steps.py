"""The compiled steps of a training, and the batches that they take."""

import bisect
import dataclasses
import functools

import optax
from flax import nnx

from nas.experiment import Experiment
from nas.training.pretrained import frozen_teacher
from supernets.losses.losses import Losses
from supernets.phases import Plan
from supernets.policies.policy import Slot
from supernets.sharding.layout import Layout
from supernets.slots import Examples
from supernets.trained import Trains
from supernets.training import CompiledStep, make_train_step


@dataclasses.dataclass(frozen=True)
class BatchSizes:
    """How many examples each step takes: plain numbers, to send to other processes.

    Attributes:
        starts: The first step of each phase, and the number of all steps.
        sizes: Of the steps of each phase.
    """

    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, plan: Plan, batch: int) -> "BatchSizes":
        """Returns the sizes of a plan whose subnets see ``batch`` examples each."""
        sizes = (phase.batch_size(plan.whole, batch) for phase in plan.phases)
        return cls(plan.starts, tuple(sizes))

    def __call__(self, step: int) -> int:
        """Returns the examples of a step."""
        return self.sizes[bisect.bisect_right(self.starts, step) - 1]


def train_steps(
    experiment: Experiment,
    supernet: nnx.Module,
    optimizer: optax.GradientTransformation,
    layout: Layout | None,
) -> tuple[CompiledStep, ...]:
    """Returns the step of each phase; phases that are compiled alike share one.

    Args:
        experiment: Says how.
        supernet: What is trained; shapes are enough.
        optimizer: Turns gradients into updates.
        layout: Over several devices.
    """
    space, train = experiment.model.space(), experiment.train
    frozen = frozen_teacher(experiment, supernet)

    @functools.cache
    def step(
        slots: tuple[Slot, ...], losses: Losses, examples: Examples, trains: Trains
    ) -> CompiledStep:
        taught = any(slot.teacher == "frozen" for slot in slots)
        return make_train_step(
            supernet,
            space,
            optimizer,
            slots,
            losses=losses,
            regularization=train.regularization,
            examples=examples,
            frozen=frozen if taught else None,
            seed=experiment.seed,
            execution=experiment.execution,
            accumulate=train.accumulate,
            average=train.average,
            compute=train.compute,
            remat=train.remat,
            layout=layout,
            trains=trains,
        )

    return tuple(
        step(phase.slots(space), phase.losses, phase.examples, phase.trains)
        for phase in train.phases
    )
