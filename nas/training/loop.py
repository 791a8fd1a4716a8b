"""The training loop: from step to step, phase to phase, checkpoint to checkpoint."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float

from nas.checkpoints import Checkpoints
from nas.errors import RunError
from nas.experiment import Experiment
from nas.metrics import LANDMARKS
from nas.panel import make_panel
from nas.progress import progress
from nas.stages.context import Context
from nas.training.log import TrainingLog
from nas.training.phases import phase_line, trained_before
from nas.training.pretrained import frozen_teacher, set_start
from nas.training.roles import RoleLosses, in_short, names_of
from nas.training.watch import Watch
from supernets.collection import require_used
from supernets.evaluation import make_evaluate
from supernets.importance import sort_state, trained_sizes
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.phases import Plan, Step
from supernets.policies.policy import Slot
from supernets.slots import Examples
from supernets.training import (
    StepMetrics,
    TrainState,
    TrainStep,
    initial_state,
    make_train_step,
)

LOG_EVERY = 10
"""Steps in a logged mean of the training loss; a checkpoint ends one too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """The training of one run.

    Attributes:
        context: Of the run.
        plan: What each step trains.
        supernet: With the weights that training starts from.
        optimizer: Turns gradients into updates.
        steps: The compiled step of each phase.
        log: Where losses go.
        watch: Validates.
    """

    context: Context
    plan: Plan
    supernet: nnx.Module
    optimizer: optax.GradientTransformation
    steps: tuple[TrainStep, ...]
    log: TrainingLog
    watch: Watch

    @classmethod
    def prepare(cls, context: Context) -> "Loop":
        """Builds everything; nothing is compiled yet."""
        experiment, run = context.experiment, context.run
        plan, space = experiment.plan(), experiment.model.space()
        supernet = experiment.model.build(rngs=nnx.Rngs(experiment.seed))
        require_used(space, supernet)
        set_start(experiment, supernet)
        optimizer = experiment.train.optimizer.transform(experiment.train.steps)
        panel = make_panel(space, plan.cost)
        panel.write(run.panel, space)
        log = TrainingLog(run.metrics)
        evaluate = make_evaluate(
            supernet,
            space,
            adversary=experiment.search.adversary,
            execution=experiment.execution,
        )
        return cls(
            context=context,
            plan=plan,
            supernet=supernet,
            optimizer=optimizer,
            steps=_train_steps(experiment, supernet, optimizer),
            log=log,
            watch=Watch(context, panel, plan, evaluate, log),
        )

    def run(self, checkpoints: Checkpoints) -> TrainState:
        """Runs what is left of the training and returns the last state.

        Raises:
            RunError: If a loss or gradient is not finite.
        """
        train, console = self.context.experiment.train, self.context.console
        first, state = self._begin(checkpoints)
        phase, losses, note = -1, RoleLosses(), ""
        with progress(console, "train", train.steps, "steps") as update:
            for number in range(first, train.steps):
                planned = self.plan.step(number)
                if planned.phase != phase:
                    phase = planned.phase
                    state = self._enter(phase, number, state)
                state, metrics = self._advance(state, number, planned)
                done = number + 1
                values = self._check(metrics, planned, done, checkpoints)
                names = names_of(self.plan.whole, self._slots(planned), planned.draw)
                losses.add(names, values)
                last = done == train.steps
                saves = last or done % train.checkpoint_every == 0
                # Means end at checkpoints, so that a resumed run has the same ones.
                if saves or done % LOG_EVERY == 0:
                    means = losses.take()
                    self.log.training(done, means)
                    note = in_short(means)
                update(done, note)
                if last or done % train.validate_every == 0:
                    self.watch.validate(done, state.params)
                if saves:
                    checkpoints.save(done, state)
        return state

    def _begin(self, checkpoints: Checkpoints) -> tuple[int, TrainState]:
        """Returns how many steps are done, and the state after them."""
        state = initial_state(self.supernet, self.optimizer)
        restored = checkpoints.restore(state)
        if restored is None:
            self.log.forget_after(0)
            self.watch.validate(0, state.params)
            return 0, state
        first, state = restored
        self.context.console.print(f"resuming training at step {first}")
        self.log.forget_after(first)
        self.watch.resume()
        return first, state

    def _enter(self, phase: int, number: int, state: TrainState) -> TrainState:
        """Says that a phase begins, or goes on, with a step; returns the state for it.

        Resumed within a phase, the state has been sorted before. At its beginning the
        checkpoint is that of the phase before, and sorting it again gives the same.
        """
        plan, sort = self.plan, self.plan.phases[phase].sort
        if len(plan.phases) > 1:
            self.context.console.print(phase_line(plan, phase), highlight=False)
        if not sort or number > plan.starts[phase]:
            return state
        within = trained_sizes(trained_before(plan, phase))
        return sort_state(
            self.supernet, plan.whole, self.optimizer, state, sort, within=within
        )

    def _advance(
        self, state: TrainState, number: int, planned: Step
    ) -> tuple[TrainState, StepMetrics]:
        experiment, phase = self.context.experiment, self.plan.phases[planned.phase]
        inputs, targets = experiment.data.batch(
            size=phase.batch_size(self.plan.whole, experiment.train.batch),
            seed=experiment.seed,
            step=number,
        )
        batch = Batch(*jax.tree.map(jnp.asarray, (inputs, targets)))
        return self.steps[planned.phase](state, batch, planned.draw, number)

    def _check(
        self, metrics: StepMetrics, planned: Step, step: int, checkpoints: Checkpoints
    ) -> Float[np.ndarray, " slots"]:
        """Returns the losses in the data's unit, or stops if one is not finite."""
        values = np.asarray(metrics.losses) / self.context.experiment.data.nats_per_unit
        norm = float(metrics.gradient_norm)
        good = np.isfinite(values) | (planned.draw.weights == 0)
        if good.all() and np.isfinite(norm):
            return values
        what = "the gradient"
        if not good.all():
            what = f"the loss of {self._name(planned, int(np.argmin(good)))}"
        checkpoints.manager.wait_until_finished()
        kept = checkpoints.manager.latest_step() or 0
        raise RunError(
            f"{what} is not finite at step {step}; the last good checkpoint, step "
            f"{kept}, is kept in {checkpoints.directory}. Lower the learning rate "
            "(--train.optimizer.learning-rate) and start again with another --out"
        )

    def _slots(self, planned: Step) -> tuple[Slot, ...]:
        return self.plan.phases[planned.phase].slots(self.plan.whole)

    def _name(self, planned: Step, row: int) -> str:
        slot = self._slots(planned)[row]
        if slot.role in LANDMARKS:
            return f"the {slot.role} subnet"
        offered = planned.draw.genotypes[row, : slot.candidates]
        members = [self.plan.whole.decode(genotype).to_json() for genotype in offered]
        return f"the {slot.role} subnet {' or '.join(map(str, members))}"


def _train_steps(
    experiment: Experiment,
    supernet: nnx.Module,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainStep, ...]:
    """Returns the step of each phase; phases that are compiled alike share one."""
    space, train = experiment.model.space(), experiment.train
    frozen = frozen_teacher(experiment, supernet)

    @functools.cache
    def step(slots: tuple[Slot, ...], losses: Losses, examples: Examples) -> TrainStep:
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
        )

    return tuple(
        step(phase.slots(space), phase.losses, phase.examples) for phase in train.phases
    )
