"""One compiled step that trains every subnet that a policy draws."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from kernels.executions import Execution
from search.space import Space
from supernets.activity import active_entries, hold_inactive
from supernets.execution import run_subnet
from supernets.losses.entropy import data_loss
from supernets.losses.loss import Batch, Outputs
from supernets.losses.losses import Losses, exit_depths
from supernets.lowering import Extents, fixed_extents, indexed_extents
from supernets.network import Subnet
from supernets.policies.policy import Draw, Slot, Teacher
from supernets.regularization import Regularization
from supernets.slots import (
    Examples,
    groups,
    require_draw,
    require_examples,
    require_teachers,
)
from supernets.weights import Params


class TrainState(NamedTuple):
    """What a step changes; everything that must be saved to resume exactly."""

    params: Params
    optimizer: optax.OptState


class StepMetrics(NamedTuple):
    """What a step tells.

    Attributes:
        losses: Of each slot against the data, in nats, summed over tasks; not a number
            for slots of weight zero, which are not run.
        gradient_norm: Of the whole step, before the optimiser clips it.
    """

    losses: Float[Array, " slots"]
    gradient_norm: Float[Array, ""]


TrainStep = Callable[[TrainState, Batch, Draw, int], tuple[TrainState, StepMetrics]]
"""Takes over the memory of the state that it is given."""


def initial_state(
    supernet: nnx.Module, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state before the first step."""
    params = nnx.state(supernet, nnx.Param)
    return TrainState(params, optimizer.init(params))


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
) -> TrainStep:
    """Returns the jitted step; it compiles once, whatever subnets fill its slots.

    Fixed slots are traced with static sizes. Neighbouring slots that are alike share
    one body with traced sizes, in a scan that adds up their gradients; what they cost
    depends on the execution. An optional slot of weight zero costs nothing.

    A slot that learns from the ``previous`` one learns from the last that was run.
    Teachers give what they give in training: the largest with its noise.

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
            it, which then holds as many examples for each slot, one after the other.
            As many passes learn from more examples then; teachers are not possible.
        seed: Of noise and adversaries.
        execution: How subnets of traced sizes run; see `kernels.dispatch`.

    Raises:
        ValueError: If a slot's teacher is not there, or what its loss needs. The step
            raises it if a draw does not fit the slots.
    """
    losses, regularization = losses or Losses(), regularization or Regularization()
    require_teachers(slots, has_frozen=frozen is not None)
    require_examples(slots, examples)
    losses.require(slots, space, noisy=regularization.noisy)
    step = _Step(
        graph=nnx.graphdef(supernet),
        # Shapes alone: what is traced must not hold parameters that steps give away.
        supernet=nnx.eval_shape(lambda: supernet),
        space=space,
        optimizer=optimizer,
        slots=slots,
        losses=losses,
        regularization=regularization,
        examples=examples,
        execution=execution,
    )
    compiled = jax.jit(step, donate_argnums=0)
    key = jax.random.key(seed)

    def run(
        state: TrainState, batch: Batch, draw: Draw, number: int
    ) -> tuple[TrainState, StepMetrics]:
        require_draw(draw, slots, space)
        return compiled(state, batch, draw, key, number, frozen)

    return run


class _Fill(NamedTuple):
    """What fills a slot.

    Attributes:
        genotypes: Its candidates.
        share: Of its gradient in that of the step; zero if it is not run.
        key: Of its randomness.
        batch: Its own examples, if they are not shared.
    """

    genotypes: Int[Array, "candidates genes"]
    share: Float[Array, ""]
    key: Array
    batch: Batch | None


class _Carry(NamedTuple):
    """What goes from slot to slot.

    Attributes:
        gradient: Of the slots so far.
        active: Entries used so far; ``None`` where a step uses all of them anyway.
        previous: What the last slot gave; ``None`` where nobody learns from it.
    """

    gradient: Params
    active: Params | None
    previous: Outputs | None


class _Learnt(NamedTuple):
    """What a subnet makes of the batch: gradient, loss on the data, outputs."""

    gradient: Params
    loss: Float[Array, ""]
    outputs: Outputs


Teachers = Mapping[Teacher, Outputs | None]


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    graph: nnx.GraphDef[nnx.Module]
    supernet: nnx.Module
    space: Space
    optimizer: optax.GradientTransformation
    slots: tuple[Slot, ...]
    losses: Losses
    regularization: Regularization
    examples: Examples
    execution: Execution

    def __call__(
        self,
        state: TrainState,
        batch: Batch,
        draw: Draw,
        key: Array,
        number: Int[Array, ""],
        frozen: Params | None,
    ) -> tuple[TrainState, StepMetrics]:
        params, shares = state.params, self._shares(draw)
        keys = jax.random.split(jax.random.fold_in(key, number), len(self.slots))
        own = self.examples == "own"
        parts = jax.tree.map(self._by_slot, batch) if own else None
        fills = _Fill(jnp.asarray(draw.genotypes), shares, keys, parts)
        teachers: dict[Teacher, Outputs | None] = {"data": None}
        teachers["frozen"] = self._frozen(frozen, batch, shares)
        carry, losses = self._start(params, batch), list[Array]()
        for group in groups(self.slots):
            run = functools.partial(self._fill, group.slot, params, batch, teachers)
            if group.single:
                carry, loss = run(carry, _rows(fills, group.rows.start))
                losses.append(loss[None])
            else:
                carry, several = jax.lax.scan(run, carry, _rows(fills, group.rows))
                losses.append(several)
            if group.rows.start == 0:
                teachers["largest"] = carry.previous
                if "previous" not in self._taught:
                    carry = carry._replace(previous=None)
        norm = optax.tree.norm(carry.gradient)
        metrics = StepMetrics(jnp.concatenate(losses), norm)
        return self._update(state, carry), metrics

    def _by_slot(self, part: Array) -> Array:
        return part.reshape(len(self.slots), -1, *part.shape[1:])

    def _shares(self, draw: Draw) -> Float[Array, " slots"]:
        weights = jnp.asarray(draw.weights)
        if self.losses.reduction == "sum":
            return weights
        return weights / jnp.sum(weights)

    @functools.cached_property
    def _largest(self) -> Extents:
        return fixed_extents(self.space, self.space.largest)

    @functools.cached_property
    def _taught(self) -> set[Teacher]:
        return {slot.teacher for slot in self.slots}

    @functools.cached_property
    def _uses_all(self) -> bool:
        """Whether the step always trains a subnet that uses every weight."""
        largest = self.space.active_layers(self.space.largest[None])
        always = any(slot.fixed and not slot.optional for slot in self.slots)
        return always and bool(largest.all())

    def _frozen(
        self, frozen: Params | None, batch: Batch, shares: Float[Array, " slots"]
    ) -> Outputs | None:
        """Runs the frozen teacher, unless nobody learns from it in this step."""
        pupils = [i for i, slot in enumerate(self.slots) if slot.teacher == "frozen"]
        if frozen is None or not pupils:
            return None
        network = Subnet(self.graph, frozen, self._largest)
        if not all(self.slots[i].optional for i in pupils):
            return network(batch.inputs)
        shapes = jax.eval_shape(network, batch.inputs)

        def nothing(_: Array) -> Outputs:
            return _zeros(shapes)

        needed = jnp.any(shares[np.asarray(pupils)] > 0)
        return jax.lax.cond(needed, network, nothing, batch.inputs)

    def _start(self, params: Params, batch: Batch) -> _Carry:
        """Returns nothing yet, in the shapes that slots add to."""
        active = previous = None
        if not self._uses_all:
            active = _zeros(params, bool)
        if self._taught & {"largest", "previous"}:
            network = Subnet(self.graph, params, self._largest)
            previous = _zeros(jax.eval_shape(network, batch.inputs))
        return _Carry(_zeros(params), active, previous)

    def _fill(
        self,
        slot: Slot,
        params: Params,
        batch: Batch,
        teachers: Teachers,
        carry: _Carry,
        fill: _Fill,
    ) -> tuple[_Carry, Float[Array, ""]]:
        """Trains what fills a slot; returns the loss on the data."""
        batch = batch if fill.batch is None else fill.batch
        teacher = (
            carry.previous if slot.teacher == "previous" else teachers[slot.teacher]
        )

        def train(carry: _Carry) -> tuple[_Carry, Float[Array, ""]]:
            operands = params, batch, teacher, fill.share, fill.key
            if slot.fixed:
                extents = self._largest
                learnt = self._learn(slot, extents, *operands)
            else:
                genotype = self._picked(slot, params, batch, fill)
                extents = indexed_extents(self.space, genotype, "masked")
                learn = functools.partial(self._learn, slot)
                learnt = run_subnet(
                    self.space, genotype, learn, *operands, execution=self.execution
                )
            return self._added(carry, learnt, extents), learnt.loss

        if not slot.optional:
            return train(carry)
        return jax.lax.cond(fill.share > 0, train, _left_out, carry)

    def _picked(
        self, slot: Slot, params: Params, batch: Batch, fill: _Fill
    ) -> Int[Array, " genes"]:
        """Returns the candidate that is trained, by its loss on the step's batch."""
        offered = fill.genotypes[: slot.candidates]
        if slot.candidates == 1:
            return offered[0]

        def loss(extents: Extents, params: Params, batch: Batch) -> Float[Array, ""]:
            outputs = Subnet(self.graph, params, extents)(batch.inputs)
            return data_loss(outputs.logits, batch.targets)

        def score(genotype: Int[Array, " genes"]) -> Float[Array, ""]:
            return run_subnet(
                self.space, genotype, loss, params, batch, execution=self.execution
            )

        scores = jax.lax.map(score, offered)
        pick = jnp.argmin(scores) if slot.keep == "best" else jnp.argmax(scores)
        return offered[pick]

    def _learn(
        self,
        slot: Slot,
        extents: Extents,
        params: Params,
        batch: Batch,
        teacher: Outputs | None,
        share: Float[Array, ""],
        key: Array,
    ) -> _Learnt:
        loss, (noise_key, loss_key) = self.losses.of(slot), jax.random.split(key)
        noisy = slot.role == "largest"
        noise = self.regularization.noise(noise_key) if noisy else None

        def objective(params: Params) -> tuple[Float[Array, ""], Outputs]:
            depths = exit_depths(self.space)
            network = Subnet(self.graph, params, extents, noise, depths)
            lesson = loss(network, batch, teacher, loss_key)
            # Here a share costs a product of two numbers, later one with each gradient.
            return share * lesson.objective, lesson.outputs

        gradient, outputs = jax.grad(objective, has_aux=True)(params)
        return _Learnt(gradient, data_loss(outputs.logits, batch.targets), outputs)

    def _added(self, carry: _Carry, learnt: _Learnt, extents: Extents) -> _Carry:
        gradient = jax.tree.map(jnp.add, carry.gradient, learnt.gradient)
        active, previous = carry.active, carry.previous
        if active is not None:
            used = active_entries(self.supernet, extents)
            active = jax.tree.map(jnp.logical_or, active, used)
        if previous is not None:
            previous = learnt.outputs
        return _Carry(gradient, active, previous)

    def _update(self, state: TrainState, carry: _Carry) -> TrainState:
        # Optax adds whole to real numbers, which a program may have forbidden.
        with jax.numpy_dtype_promotion("standard"):
            updates, kept = self.optimizer.update(
                carry.gradient, state.optimizer, state.params
            )
        params = jax.tree.map(jnp.add, state.params, updates)
        if carry.active is None:
            return TrainState(params, kept)
        new = hold_inactive(
            self.optimizer,
            carry.active,
            new=(params, kept),
            old=(state.params, state.optimizer),
        )
        return TrainState(*new)


def _left_out(carry: _Carry) -> tuple[_Carry, Float[Array, ""]]:
    return carry, jnp.full((), jnp.nan)


def _rows(fills: _Fill, rows: int | slice) -> _Fill:
    def some(part: Array) -> Array:
        return part[rows]

    return jax.tree.map(some, fills)


def _zeros(tree: PyTree, dtype: type[bool] | None = None) -> PyTree:
    def zeros(leaf: Array | jax.ShapeDtypeStruct) -> Array:
        return jnp.zeros(leaf.shape, dtype or leaf.dtype)

    return jax.tree.map(zeros, tree)
