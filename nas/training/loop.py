"""The training loop: from step to step, phase to phase, checkpoint to checkpoint."""

import contextlib
import dataclasses
import signal
from typing import NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float

from nas.checkpoints import Checkpoints, Notes
from nas.data.feed import Feed
from nas.errors import RunError, Stopped, UsageError
from nas.metrics import LANDMARKS
from nas.panel import make_panel
from nas.progress import progress
from nas.stages.context import Context
from nas.training.log import TrainingLog
from nas.training.phases import phase_line, trained_before
from nas.training.pretrained import set_start
from nas.training.roles import RoleLosses, in_short, names_of
from nas.training.speed import Speedometer
from nas.training.steps import BatchSizes, train_steps
from nas.training.stopping import Stopping
from nas.training.tracing import Tracer
from nas.training.watch import Watch
from supernets.collection import require_used
from supernets.evaluation import make_evaluate
from supernets.importance import sort_state, trained_sizes
from supernets.losses.loss import Batch
from supernets.phases import Plan, Step
from supernets.policies.policy import Slot
from supernets.quantization.calibration import calibrated
from supernets.sharding.layout import Layout
from supernets.sharding.spec import Parallel
from supernets.training import StepMetrics, TrainState, TrainStep, initial_state
from supernets.weights import Params

LOG_EVERY = 10
"""Steps in a logged mean of the training loss; a checkpoint ends one too. Of several
processes all know by then that one of them was asked to stop."""

CALIBRATION_EXAMPLES = 32
"""From which the ranges of activations are taken."""


class Begun(NamedTuple):
    """Where a training goes on.

    Attributes:
        step: How many steps are done.
        state: After them, on the devices that train.
        losses: Of steps whose mean is not logged yet.
    """

    step: int
    state: TrainState
    losses: RoleLosses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """The training of one run.

    Attributes:
        context: Of the run.
        plan: What each step trains.
        sizes: How many examples each step takes.
        supernet: With the weights that training starts from.
        optimizer: Turns gradients into updates.
        layout: Over several devices; none on one.
        steps: The compiled step of each phase.
        feed: Reads the examples of each step ahead of it.
        log: Where losses go.
        watch: Validates.
        speed: Of its steps.
    """

    context: Context
    plan: Plan
    sizes: BatchSizes
    supernet: nnx.Module
    optimizer: optax.GradientTransformation
    layout: Layout | None
    steps: tuple[TrainStep, ...]
    feed: Feed
    log: TrainingLog
    watch: Watch
    speed: Speedometer

    @classmethod
    def prepare(cls, context: Context) -> "Loop":
        """Builds everything; nothing is compiled yet."""
        experiment, run = context.experiment, context.run
        train, plan = experiment.train, experiment.plan()
        space = plan.whole
        supernet = experiment.model.build(rngs=nnx.Rngs(experiment.seed))
        require_used(space, supernet)
        set_start(experiment, supernet)
        optimizer = train.optimizer.transform(train.steps)
        layout = _layout(experiment.train.parallel, supernet)
        panel = make_panel(space, plan.cost)
        if context.hosts.first:
            panel.write(run.panel, space)
        log = TrainingLog(
            run.metrics,
            warn=context.warn,
            sinks=context.sinks(),
            silent=not context.hosts.first,
        )
        evaluate = make_evaluate(
            supernet,
            space,
            adversary=experiment.search.adversary,
            execution=experiment.execution,
        )
        sizes = BatchSizes.of(plan, train.batch)
        return cls(
            context=context,
            plan=plan,
            sizes=sizes,
            supernet=supernet,
            optimizer=optimizer,
            layout=layout,
            steps=train_steps(experiment, supernet, optimizer, layout),
            feed=Feed(
                experiment.data,
                sizes,
                seed=experiment.seed,
                steps=train.steps,
                part=(0, 1) if layout is None else layout.part,
                options=train.reading,
            ),
            log=log,
            watch=Watch(context, panel, plan, evaluate, log),
            speed=Speedometer(experiment.data),
        )

    def run(self, checkpoints: Checkpoints) -> Params:
        """Runs what is left of the training and returns the weights to use.

        Raises:
            RunError: If a loss or gradient is not finite, or another process is gone.
            Stopped: If a signal asked for it; all steps so far are saved.
        """
        context, train = self.context, self.context.experiment.train
        hosts = context.hosts
        with (
            hosts.noticing_losses(str(checkpoints.directory)),
            contextlib.closing(self.feed),
            contextlib.closing(Tracer(context.trace, context.tell)) as tracer,
            progress(context.console, "train", train.steps, "steps") as update,
            Stopping(context.tell).watching() as stopping,
        ):
            begun = self._begin(checkpoints)
            state, losses = begun.state, begun.losses
            phase, note = -1, ""
            for number in range(begun.step, train.steps):
                planned = self.plan.step(number)
                if planned.phase != phase:
                    phase = planned.phase
                    state = self._enter(phase, number, state)
                tracer.step()
                state, metrics = self._advance(state, number, planned)
                done = number + 1
                losses.add(*self._checked(metrics, planned, done, checkpoints))
                self.speed.step(self.sizes(number))
                last = done == train.steps
                saves = last or done % train.checkpoint_every == 0
                # Means end at checkpoints too: then they start anew when it resumes.
                if saves or done % LOG_EVERY == 0:
                    means = losses.take()
                    self.log.training(done, means)
                    note = in_short(means)
                update(done, ", ".join(filter(None, (note, str(self.speed)))))
                score = None
                if last or done % train.validate_every == 0:
                    score = self.watch.validate(done, self._whole(state))
                    self.speed.restart()
                asked = self._asked(stopping, done)
                if saves or asked:
                    self._save(checkpoints, done, state, losses, score)
                if asked:
                    self._stop(checkpoints, done, asked)
            self.log.finish()
            return self._result(checkpoints, state)

    def _begin(self, checkpoints: Checkpoints) -> Begun:
        state = initial_state(
            self.supernet,
            self.optimizer,
            averaged=bool(self.context.experiment.train.average),
        )
        state = self._placed(state)
        restored = checkpoints.restore(self._collected(state))
        if restored is None:
            self.log.forget_after(0)
            self.watch.validate(0, self._whole(state))
            return Begun(0, state, RoleLosses())
        self.context.tell(f"resuming training at step {restored.step}")
        self.log.forget_after(restored.step)
        self.watch.resume()
        self.feed.restore(restored.notes["feed"])
        losses = RoleLosses(restored.notes["losses"])
        return Begun(restored.step, self._placed(restored.state), losses)

    def _save(
        self,
        checkpoints: Checkpoints,
        done: int,
        state: TrainState,
        losses: RoleLosses,
        score: float | None,
    ) -> None:
        context = self.context
        if context.hosts.first and not context.run.config.exists():
            context.warn(
                f"{context.run.path} has gone away; what is still known is written "
                "again, but earlier lines of metrics.jsonl are lost"
            )
            context.run.path.mkdir(parents=True, exist_ok=True)
            context.run.claim(context.experiment)
            self.watch.panel.write(context.run.panel, self.plan.whole)
        notes: Notes = {"losses": losses.kept(), "feed": self.feed.state()}
        checkpoints.save(done, self._collected(state), notes=notes, score=score)

    def _asked(self, stopping: Stopping, done: int) -> int:
        """Returns the signal that asked one of the processes to stop, or 0."""
        hosts, asked = self.context.hosts, int(stopping.signal or 0)
        if hosts.count > 1 and done % LOG_EVERY:
            return 0
        return hosts.highest(asked)

    def _stop(self, checkpoints: Checkpoints, done: int, number: int) -> NoReturn:
        kept, name = checkpoints.wait(), signal.Signals(number).name
        raise Stopped(
            f"stopped by {name} after step {done}; step {kept} is saved: run the same "
            "command again to go on",
            number,
        )

    def _result(self, checkpoints: Checkpoints, state: TrainState) -> Params:
        """Returns the weights that training is for, whole and in order."""
        if self.context.experiment.train.take == "last":
            return self._whole(state)
        best = checkpoints.restore_best(self._collected(state))
        if best is None:
            raise RunError(
                "no checkpoint has a validation: let checkpoint_every be a multiple of "
                "validate_every, or take the last weights (--train.take last)"
            )
        self.context.tell(f"taking the weights of step {best.step}, the best validated")
        return self._whole(self._placed(best.state))

    def _enter(self, phase: int, number: int, state: TrainState) -> TrainState:
        """Says that a phase begins, or goes on, with a step; returns the state for it.

        Resumed within a phase, the state has been sorted and calibrated before. At its
        beginning the checkpoint is that of the phase before, and doing it again gives
        the same.
        """
        plan, entered = self.plan, self.plan.phases[phase]
        if len(plan.phases) > 1:
            self.context.tell(phase_line(plan, phase))
        self.speed.restart()
        changes = entered.sort or entered.calibrate
        if not changes or number > plan.starts[phase]:
            return state
        state = self._collected(state)
        if entered.sort:
            state = sort_state(
                self.supernet,
                plan.whole,
                self.optimizer,
                state,
                entered.sort,
                within=trained_sizes(trained_before(plan, phase)),
            )
        if entered.calibrate:
            data = self.context.experiment.data
            inputs = jnp.asarray(data.fixed("train", CALIBRATION_EXAMPLES).inputs)
            state = calibrated(self.supernet, plan.whole, state, inputs)
        return self._placed(state)

    def _advance(
        self, state: TrainState, number: int, planned: Step
    ) -> tuple[TrainState, StepMetrics]:
        _, examples = next(self.feed)
        if self.layout is None:
            batch = Batch(*jax.tree.map(jnp.asarray, tuple(examples)))
        else:
            batch = self.layout.batch(Batch(*jax.tree.map(np.asarray, tuple(examples))))
        return self.steps[planned.phase](state, batch, planned.draw, number)

    def _placed(self, state: TrainState) -> TrainState:
        return state if self.layout is None else self.layout.place(state)

    def _collected(self, state: TrainState) -> TrainState:
        return state if self.layout is None else self.layout.collect(state)

    def _whole(self, state: TrainState) -> Params:
        """Returns the weights to evaluate, in order and all of them on each device."""
        weights = state.evaluated
        return weights if self.layout is None else self.layout.replicate(weights)

    def _checked(
        self, metrics: StepMetrics, planned: Step, step: int, checkpoints: Checkpoints
    ) -> tuple[list[str], Float[np.ndarray, " slots"]]:
        """Returns names and losses, in the data's unit, of the subnets of a step.

        Raises:
            RunError: If one is not finite.
        """
        values = np.asarray(metrics.losses) / self.context.experiment.data.nats_per_unit
        good = np.isfinite(values) | (planned.draw.weights == 0)
        if good.all() and np.isfinite(float(metrics.gradient_norm)):
            names = names_of(self.plan.whole, self._slots(planned), planned.draw)
            return names, values
        raise RunError(
            f"{self._lost(metrics, planned, good)} is not finite at step {step}; the "
            f"last good checkpoint, step {checkpoints.wait()}, is kept in "
            f"{checkpoints.directory}. Lower the learning rate "
            "(--train.optimizer.learning-rate) and start again with another --out"
        )

    def _lost(self, metrics: StepMetrics, planned: Step, good: np.ndarray) -> str:
        """Says what is not finite."""
        if not good.all():
            return f"the loss of {self._name(planned, int(np.argmin(good)))}"
        norms = np.asarray(metrics.gradient_norms)
        good = np.isfinite(norms) | (planned.draw.weights == 0)
        if good.all():
            return "the gradient"
        return f"the gradient of {self._name(planned, int(np.argmin(good)))}"

    def _slots(self, planned: Step) -> tuple[Slot, ...]:
        return self.plan.phases[planned.phase].slots(self.plan.whole)

    def _name(self, planned: Step, row: int) -> str:
        slot = self._slots(planned)[row]
        if slot.role in LANDMARKS:
            return f"the {slot.role} subnet"
        offered = planned.draw.genotypes[row, : slot.candidates]
        members = [self.plan.whole.decode(genotype).to_json() for genotype in offered]
        return f"the {slot.role} subnet {' or '.join(map(str, members))}"


def _layout(parallel: Parallel, supernet: nnx.Module) -> Layout | None:
    """Returns the layout over the devices that there are; none on one.

    Raises:
        UsageError: If they do not fit the axes, or the axes the supernet.
    """
    try:
        return Layout.of(parallel, supernet)
    except ValueError as error:
        raise UsageError(f"train.parallel: {error}") from error
