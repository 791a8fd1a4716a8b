"""One compiled step that trains every subnet that a policy draws."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.executions import Execution
from search.space import Space
from supernets.activity import update_active
from supernets.averaging import averaged
from supernets.computing import Compute, Remat
from supernets.dimensions import stored_weights
from supernets.learning import Carry, Fill, Learner, Teachers, Told, Total, zeros_like
from supernets.losses.loss import Batch, Outputs
from supernets.losses.losses import Losses
from supernets.policies.policy import Draw, Slot, Teacher
from supernets.regularization import Regularization
from supernets.rematerialization import compiler_options
from supernets.sharding.layout import Layout
from supernets.slots import (
    Examples,
    groups,
    require_batch,
    require_draw,
    require_examples,
    require_teachers,
)
from supernets.trained import Trains, only_trained
from supernets.weights import Params


class TrainState(NamedTuple):
    """What a step changes; everything that must be saved to resume exactly.

    Attributes:
        params: The weights that are trained.
        optimizer: The state of the optimiser.
        average: The moving average of the weights, if there is one.
    """

    params: Params
    optimizer: optax.OptState
    average: Params | None = None

    @property
    def evaluated(self) -> Params:
        """The weights to evaluate: the average if there is one."""
        return self.params if self.average is None else self.average


class StepMetrics(NamedTuple):
    """What a step tells.

    Attributes:
        losses: Of each slot against the data, in nats, summed over tasks; not a number
            for slots of weight zero, which are not run.
        gradient_norm: Of the whole step, before the optimiser clips it. If it is not
            finite, the step changed nothing.
        gradient_norms: Of each slot's share of it, also not a number for slots that are
            not run; of several micro-batches their sum.
    """

    losses: Float[Array, " slots"]
    gradient_norm: Float[Array, ""]
    gradient_norms: Float[Array, " slots"]


TrainStep = Callable[[TrainState, Batch, Draw, int], tuple[TrainState, StepMetrics]]
"""Takes over the memory of the state that it is given."""


def initial_state(
    supernet: nnx.Module,
    optimizer: optax.GradientTransformation,
    *,
    averaged: bool = False,
) -> TrainState:
    """Returns the state before the first step.

    Args:
        supernet: With the weights that training starts from.
        optimizer: What keeps the rest of the state.
        averaged: Whether the step is one that averages weights.
    """
    params = nnx.state(supernet, nnx.Param)
    # Memory of its own: a step takes over that of the weights.
    average = jax.tree.map(jnp.copy, params) if averaged else None
    return TrainState(params, optimizer.init(params), average)


def make_train_step(
    supernet: nnx.Module,
    space: Space,
    optimizer: optax.GradientTransformation,
    slots: tuple[Slot, ...],
    *,
    losses: Losses | None = None,
    regularization: Regularization | None = None,
    frozen: Params | None = None,
    examples: Examples = "shared",
    seed: int = 0,
    execution: Execution = "auto",
    accumulate: int = 1,
    average: float = 0.0,
    compute: Compute = "float32",
    remat: Remat = "nothing",
    layout: Layout | None = None,
    trains: Trains = "all",
) -> "CompiledStep":
    """Returns the jitted step; it compiles once, whatever subnets fill its slots.

    Fixed slots are traced with static sizes. Neighbouring slots that are alike share
    one body with traced sizes, in a scan that adds up their gradients; what they cost
    depends on the execution. An optional slot of weight zero costs nothing.

    A slot that learns from the ``previous`` one learns from the last that was run.
    Teachers give what they give in training: the largest with its noise.

    A step whose gradient is not finite returns the state that it was given.

    Weights, their gradients and the state of the optimiser are float32. In bfloat16
    run the networks between them, but for statistics of norms and the softmax of
    attention; logits and losses are float32 again. There is no float16: its exponents
    are too few for gradients, whose loss would have to be scaled step by step, and
    accelerators that compute in it and not in bfloat16 are no longer made.

    Args:
        supernet: The supernet; its parameters are not kept.
        space: Its search space, of which drawn genotypes are members.
        optimizer: Turns the gradient of a step into an update.
        slots: What a policy fills.
        losses: By role.
        regularization: Noise on slots of the role ``largest``.
        frozen: Weights of a largest subnet that teaches and does not learn, in memory
            that no state shares.
        examples: What slots see: all of them the whole batch, or each its own part of
            it, which then holds as many examples for each slot: the first of every
            slot, then the second of every slot, and so on.
            As many passes learn from more examples then; teachers are not possible.
        seed: Of noise and adversaries.
        execution: How subnets of traced sizes run; see `kernels.dispatch`.
        accumulate: Micro-batches that the examples of each slot are cut into. They run
            one after the other with the same draw, in the memory of one, and give the
            gradient of the whole, up to rounding, where losses are means over examples.
            Noise and the picks among candidates are those of each micro-batch.
        average: Decay of the moving average of the weights, 0 to below 1; 0 for none.
            At step t, from 0, it is at most (1 + t) / (10 + t), so that the start is
            soon forgotten (TensorFlow's ExponentialMovingAverage). Weights that stand
            still in a step count as they are.
        compute: The type that networks compute in.
        remat: What is computed again in the backward pass, to need less memory.
        layout: Where state and batches lie, on several devices: states are those that
            it placed, batches those that it made. Frozen weights are as on one device.
        trains: Which parameters learn; the others stand still.

    Raises:
        ValueError: If a slot's teacher is not there, or what its loss needs, or if a
            number is out of range. The step raises it if a draw does not fit the slots,
            the batch does not divide, or the state has no average, or one too many.
    """
    losses, regularization = losses or Losses(), regularization or Regularization()
    require_teachers(slots, has_frozen=frozen is not None)
    require_examples(slots, examples)
    losses.require(slots, space, noisy=regularization.noisy)
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, got {accumulate}")
    if not 0.0 <= average < 1.0:
        raise ValueError(f"average must lie in 0..1 and below 1, got {average}")
    learner = Learner(
        graph=nnx.graphdef(supernet),
        # Shapes alone: what is traced must not hold parameters that steps give away.
        supernet=nnx.eval_shape(lambda: supernet),
        space=space,
        losses=losses,
        regularization=regularization,
        execution=execution,
        compute=compute,
        remat=remat,
        trains=trains,
        layout=layout,
    )
    step = _Step(learner, optimizer, slots, examples, accumulate, average)
    options = compiler_options(remat, _platform(layout))
    jit = functools.partial(jax.jit, compiler_options=options) if options else jax.jit
    if layout is not None and frozen is not None:
        frozen = layout.place(frozen)
    key = jax.random.key(seed)
    return CompiledStep(step, jit(step, donate_argnums=0), key, frozen)


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    learner: Learner
    optimizer: optax.GradientTransformation
    slots: tuple[Slot, ...]
    examples: Examples
    accumulate: int
    average: float

    def __call__(
        self,
        state: TrainState,
        batch: Batch,
        draw: Draw,
        key: Array,
        number: Int[Array, ""],
        frozen: Params | None,
    ) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(key, number)
        gathered = self.learner.gathered
        params = gathered(state.params)
        frozen = None if frozen is None else gathered(frozen)
        learn = functools.partial(self._pass, params, draw, frozen)
        total = self._nothing(state.params)
        if self.accumulate == 1:
            total, told = learn(total, (batch, key))
        else:
            parts = jax.tree.map(self._micro_batches, batch)
            keys = jax.random.split(key, self.accumulate)
            total, several = jax.lax.scan(learn, total, (parts, keys))
            told = Told(jnp.mean(several.loss, 0), jnp.sum(several.gradient_norm, 0))
        norm = optax.tree.norm(total.gradient)
        new = self._update(state, total, number)
        kept = jax.tree.map(
            functools.partial(jnp.where, jnp.isfinite(norm)), new, state
        )
        kept = self.learner.scattered(kept)
        return kept, StepMetrics(told.loss, norm, told.gradient_norm)

    def _pass(
        self,
        params: Params,
        draw: Draw,
        frozen: Params | None,
        total: Total,
        part: tuple[Batch, Array],
    ) -> tuple[Total, Told]:
        """Adds what all slots learn from examples to a total."""
        (batch, key), shares = part, self._shares(draw)
        keys = jax.random.split(key, len(self.slots))
        own = self.examples == "own"
        parts = jax.tree.map(self._by_slot, batch) if own else None
        fills = Fill(jnp.asarray(draw.genotypes), shares, keys, parts)
        teachers: dict[Teacher, Outputs | None] = {"data": None}
        teachers["frozen"] = self.learner.taught_by(frozen, self.slots, batch, shares)
        carry = Carry(total, self._unspoken(params, batch))
        told = list[Told]()
        for group in groups(self.slots):
            run = self._runs(group.slot, params, batch, teachers)
            if group.single:
                carry, one = run(carry, _rows(fills, group.rows.start))
                told.append(Told(*(value[None] for value in one)))
            else:
                carry, several = jax.lax.scan(run, carry, _rows(fills, group.rows))
                told.append(several)
            if group.rows.start == 0:
                teachers["largest"] = carry.previous
                if "previous" not in self._taught:
                    carry = carry._replace(previous=None)
        return carry.total, Told(*map(jnp.concatenate, zip(*told, strict=True)))

    def _runs(
        self, slot: Slot, params: Params, batch: Batch, teachers: Teachers
    ) -> Callable[[Carry, Fill], tuple[Carry, Told]]:
        return functools.partial(self.learner.fill, slot, params, batch, teachers)

    def _by_slot(self, part: Array) -> Array:
        # Neighbours are of different slots, so that every device has some of each.
        return part.reshape(-1, len(self.slots), *part.shape[1:]).swapaxes(0, 1)

    def _micro_batches(self, part: Array) -> Array:
        """Cuts the examples of each slot, or of all, into an axis in front."""
        parts = len(self.slots) if self.examples == "own" else 1
        cut = part.reshape(-1, self.accumulate, parts, *part.shape[1:])
        return cut.swapaxes(0, 1).reshape(self.accumulate, -1, *part.shape[1:])

    def _shares(self, draw: Draw) -> Float[Array, " slots"]:
        weights = jnp.asarray(draw.weights)
        if self.learner.losses.reduction == "mean":
            weights = weights / jnp.sum(weights)
        return weights / self.accumulate if self.accumulate > 1 else weights

    @functools.cached_property
    def _taught(self) -> set[Teacher]:
        return {slot.teacher for slot in self.slots}

    @functools.cached_property
    def _uses_all(self) -> bool:
        """Whether the step always trains a subnet that uses every weight."""
        space = self.learner.space
        largest = space.active_layers(space.largest[None])
        always = any(slot.fixed and not slot.optional for slot in self.slots)
        # Of rows, as scales have for each bit-width, no subnet uses more than one.
        rows = any(stored.rows for stored in stored_weights(self.learner.supernet))
        learn_all = self.learner.trains == "all" and not rows
        return always and learn_all and bool(largest.all())

    def _nothing(self, params: Params) -> Total:
        """Returns no gradient and no activity yet, in the shapes that slots add to."""
        active = None if self._uses_all else zeros_like(params, bool)
        return self.learner.scattered(Total(zeros_like(params), active))

    def _unspoken(self, params: Params, batch: Batch) -> Outputs | None:
        """Returns what no slot has given yet, if one learns from another."""
        if not self._taught & {"largest", "previous"}:
            return None
        network = self.learner.network(params, self.learner.largest)
        return zeros_like(jax.eval_shape(network, batch.inputs))

    def _update(
        self, state: TrainState, total: Total, number: Int[Array, ""]
    ) -> TrainState:
        params, kept = update_active(
            self.optimizer,
            total.gradient,
            only_trained(total.active, self.learner.trains),
            state.params,
            state.optimizer,
        )
        average = state.average
        if average is not None:
            average = averaged(average, params, self.average, number)
        return TrainState(params, kept, average)


@dataclasses.dataclass(frozen=True, eq=False)
class CompiledStep:
    """A training step, compiled when it is first run; see `make_train_step`.

    Attributes:
        step: As a function.
        program: The same, jitted.
        key: Of its randomness.
        frozen: Weights of the frozen teacher, if there is one.
    """

    step: _Step
    program: jax.stages.Wrapped
    key: Array
    frozen: Params | None

    def __call__(
        self, state: TrainState, batch: Batch, draw: Draw, number: int
    ) -> tuple[TrainState, StepMetrics]:
        """Runs a step; takes over the memory of the state.

        Raises:
            ValueError: If draw, batch or state do not fit the step.
        """
        with self._ready(state, batch, draw):
            return self.program(state, batch, draw, self.key, number, self.frozen)

    def lower(
        self, state: TrainState, batch: Batch, draw: Draw, number: int
    ) -> jax.stages.Lowered:
        """Returns the lowered program for arguments of which shapes are enough.

        Raises:
            ValueError: If draw, batch or state do not fit the step.
        """
        with self._ready(state, batch, draw):
            return self.program.lower(state, batch, draw, self.key, number, self.frozen)

    @contextlib.contextmanager
    def _ready(self, state: TrainState, batch: Batch, draw: Draw) -> Iterator[None]:
        step, layout = self.step, self.step.learner.layout
        require_draw(draw, step.slots, step.learner.space)
        size = batch.inputs.shape[0]
        require_batch(size, step.slots, step.examples, step.accumulate)
        if (state.average is not None) != (step.average > 0):
            raise ValueError(
                f"a step with an average of decay {step.average} needs a state of "
                f"`initial_state(..., averaged={step.average > 0})`"
            )
        with contextlib.nullcontext() if layout is None else jax.set_mesh(layout.mesh):
            yield


def _platform(layout: Layout | None) -> str:
    if layout is None:
        return jax.default_backend()
    return layout.mesh.devices.flat[0].platform


def _rows(fills: Fill, rows: int | slice) -> Fill:
    def some(part: Array) -> Array:
        return part[rows]

    return jax.tree.map(some, fills)
