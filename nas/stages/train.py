"""Stage 1: train the supernet, checkpoint, validate, and write its weights."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float
from safetensors.numpy import save

from nas.checkpoints import Checkpoints
from nas.data import StdlibText
from nas.errors import RunError
from nas.metrics import LANDMARKS
from nas.progress import progress
from nas.provenance import provenance
from nas.rundir import append_json_line, read_json_lines, write_bytes, write_json
from nas.stages.context import Context
from search.space import Genotypes, Space
from supernets.collection import require_used
from supernets.evaluation import Evaluate, make_evaluate
from supernets.losses import NATS_PER_BIT
from supernets.training import (
    StepMetrics,
    TrainState,
    TrainStep,
    initial_state,
    make_train_step,
)
from supernets.weights import flat_weights, host_copy

LOG_EVERY = 10


def train(context: Context) -> None:
    """Trains to the last step, from the newest complete checkpoint if there is one.

    Raises:
        RunError: If a loss or gradient is not finite.
    """
    loop = _Loop.prepare(context)
    experiment, run = context.experiment, context.run
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Loop:
    context: Context
    data: StdlibText
    space: Space
    supernet: nnx.Module
    optimizer: optax.GradientTransformation
    step: TrainStep
    evaluate: Evaluate

    @classmethod
    def prepare(cls, context: Context) -> "_Loop":
        experiment = context.experiment
        space = experiment.model.space()
        supernet = experiment.model.build(rngs=nnx.Rngs(experiment.seed))
        require_used(space, supernet)
        optimizer = experiment.train.optimizer.transform(experiment.train.steps)
        policy = experiment.train.policy
        return cls(
            context=context,
            data=experiment.data,
            space=space,
            supernet=supernet,
            optimizer=optimizer,
            step=make_train_step(
                supernet, space, optimizer, policy, execution=experiment.execution
            ),
            evaluate=make_evaluate(supernet, space, execution=experiment.execution),
        )

    def run(self, checkpoints: Checkpoints) -> TrainState:
        """Runs what is left of the training and returns the last state."""
        plan = self.context.experiment.train
        state = initial_state(self.supernet, self.optimizer)
        restored = checkpoints.restore(state)
        first = 0
        if restored is not None:
            first, state = restored
            self.context.console.print(f"resuming training at step {first}")
        self._forget_after(first)
        if first == 0:
            self._validate(0, state)
        with progress(self.context.console, "train", plan.steps, "steps") as update:
            for step in range(first, plan.steps):
                state, metrics = self._advance(state, step)
                done = step + 1
                bits = self._check(metrics, done, checkpoints)
                update(done, f"largest {bits[0]:.2f}, smallest {bits[1]:.2f} bits/byte")
                if done % LOG_EVERY == 0 or done == plan.steps:
                    self._log(done, bits)
                if done % plan.validate_every == 0 or done == plan.steps:
                    self._validate(done, state)
                if done % plan.checkpoint_every == 0 or done == plan.steps:
                    checkpoints.save(done, state)
        return state

    def _advance(self, state: TrainState, step: int) -> tuple[TrainState, StepMetrics]:
        experiment = self.context.experiment
        seed = experiment.seed
        inputs, targets = self.data.batch(
            size=experiment.train.batch, seed=seed, step=step
        )
        sampled = experiment.train.policy.sample(self.space, seed=seed, step=step)
        return self.step(state, jnp.asarray(inputs), jnp.asarray(targets), sampled)

    def _check(
        self, metrics: StepMetrics, step: int, checkpoints: Checkpoints
    ) -> Float[np.ndarray, " subnets"]:
        """Returns the step's losses in bits, or stops if something is not finite."""
        bits = np.asarray(metrics.losses) / NATS_PER_BIT
        norm = float(metrics.gradient_norm)
        if np.isfinite(bits).all() and np.isfinite(norm):
            return bits
        experiment = self.context.experiment
        policy = experiment.train.policy
        sampled = policy.sample(self.space, seed=experiment.seed, step=step - 1)
        what = "the gradient"
        if not np.isfinite(bits).all():
            what = (
                f"the loss of {self._name(int(np.argmin(np.isfinite(bits))), sampled)}"
            )
        checkpoints.manager.wait_until_finished()
        good = checkpoints.manager.latest_step() or 0
        raise RunError(
            f"{what} is not finite at step {step}; the last good checkpoint, step "
            f"{good}, is kept in {checkpoints.directory}. Lower the learning rate "
            "(--train.optimizer.learning-rate) and start again with another --out"
        )

    def _name(self, row: int, sampled: Genotypes) -> str:
        if row < 2:
            return ("the largest subnet", "the smallest subnet")[row]
        return f"the sampled subnet {self.space.decode(sampled[row - 2]).to_json()}"

    def _log(self, step: int, bits: Float[np.ndarray, " subnets"]) -> None:
        losses = {"largest": float(bits[0]), "smallest": float(bits[1])}
        if len(bits) > 2:
            losses["sampled"] = float(bits[2:].mean())
        append_json_line(self.context.run.metrics, {"step": step, "training": losses})

    def _validate(self, step: int, state: TrainState) -> None:
        panel = np.stack([getattr(self.space, name) for name in LANDMARKS])
        windows = self.data.fixed("search", self.context.experiment.search.windows)
        losses = self.evaluate(state.params, panel, *windows)
        values = dict(zip(LANDMARKS, losses.tolist(), strict=True))
        append_json_line(self.context.run.metrics, {"step": step, "validation": values})

    def _forget_after(self, step: int) -> None:
        """Drops logged lines that the resumed run will write again."""
        path = self.context.run.metrics
        logged = read_json_lines(path) if step else []
        kept = [line for line in logged if int(str(line["step"])) <= step]
        write_bytes(path, b"".join(_line(entry) for entry in kept))


def _line(entry: dict[str, object]) -> bytes:
    return (json.dumps(entry) + "\n").encode()
