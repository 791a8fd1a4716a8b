"""What the subnet in one slot of a step learns, and what others learn from it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from kernels.executions import Execution
from search.space import Space
from supernets.activity import active_entries
from supernets.computing import Compute, Remat
from supernets.execution import run_subnet
from supernets.losses.entropy import data_loss
from supernets.losses.loss import Batch, Outputs
from supernets.losses.losses import Losses, exit_depths
from supernets.lowering import Extents, fixed_extents, indexed_extents
from supernets.network import Subnet, Tree
from supernets.policies.policy import Slot, Teacher
from supernets.regularization import Noise, Regularization
from supernets.sharding.layout import Layout
from supernets.trained import Trains, frozen_but
from supernets.weights import Params

Teachers = Mapping[Teacher, Outputs | None]


class Fill(NamedTuple):
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


class Total(NamedTuple):
    """What slots add up to.

    Attributes:
        gradient: Of the slots so far.
        active: Entries used so far; ``None`` where a step uses all of them anyway.
    """

    gradient: Params
    active: Params | None


class Carry(NamedTuple):
    """What goes from slot to slot.

    Attributes:
        total: Of the slots so far.
        previous: What the last slot gave; ``None`` where nobody learns from it.
    """

    total: Total
    previous: Outputs | None


class Told(NamedTuple):
    """What is told of a slot; not a number if it is not run.

    Attributes:
        loss: Against the data, in nats, summed over tasks.
        gradient_norm: Of its share of the step's gradient.
    """

    loss: Float[Array, "*slots"]
    gradient_norm: Float[Array, "*slots"]


class Learnt(NamedTuple):
    """What a subnet makes of the batch: gradient, loss on the data, outputs."""

    gradient: Params
    loss: Float[Array, ""]
    outputs: Outputs


@dataclasses.dataclass(frozen=True, eq=False)
class Learner:
    """How subnets learn.

    Attributes:
        graph: Of the supernet.
        supernet: With shapes in place of parameters.
        space: Its search space.
        losses: By role.
        regularization: Noise on slots of the role ``largest``.
        execution: How subnets of traced sizes run.
        compute: The type that they compute in.
        remat: What they compute again in the backward pass.
        trains: Which parameters learn.
        layout: Where weights lie on several devices; none on one.
    """

    graph: nnx.GraphDef[nnx.Module]
    supernet: nnx.Module
    space: Space
    losses: Losses
    regularization: Regularization
    execution: Execution
    compute: Compute
    remat: Remat
    trains: Trains = "all"
    layout: Layout | None = None

    @functools.cached_property
    def largest(self) -> Extents:
        """The static extents of the largest subnet."""
        return fixed_extents(self.space, self.space.largest)

    def network(
        self, params: Params, extents: Extents, noise: Noise | None = None
    ) -> Subnet:
        """Returns a subnet as it learns, and as it teaches."""
        return Subnet(
            self.graph,
            params,
            extents,
            noise,
            exit_depths(self.space),
            compute=self.compute,
            remat=self.remat,
        )

    def taught_by(
        self,
        frozen: Params | None,
        slots: Sequence[Slot],
        batch: Batch,
        shares: Float[Array, " slots"],
    ) -> Outputs | None:
        """Runs the frozen teacher, unless nobody learns from it in this step.

        Args:
            frozen: Its weights, if there is one.
            slots: Of the step.
            batch: That slots share.
            shares: Of each slot; zero if it is not run.
        """
        pupils = [i for i, slot in enumerate(slots) if slot.teacher == "frozen"]
        if frozen is None or not pupils:
            return None
        network = self.network(frozen, self.largest)
        if not all(slots[i].optional for i in pupils):
            return network(batch.inputs)
        shapes = jax.eval_shape(network, batch.inputs)

        def nothing(_: Array) -> Outputs:
            return zeros_like(shapes)

        needed = jnp.any(shares[np.asarray(pupils)] > 0)
        return jax.lax.cond(needed, network, nothing, batch.inputs)

    def fill(
        self,
        slot: Slot,
        params: Params,
        batch: Batch,
        teachers: Teachers,
        carry: Carry,
        fill: Fill,
    ) -> tuple[Carry, Told]:
        """Trains what fills a slot, if it is run.

        Args:
            slot: What it is.
            params: Of the supernet.
            batch: That slots share.
            teachers: What others than the slot before gave.
            carry: Of the slots before.
            fill: What fills it.
        """
        batch = batch if fill.batch is None else fill.batch
        teacher = (
            carry.previous if slot.teacher == "previous" else teachers[slot.teacher]
        )

        def train(carry: Carry) -> tuple[Carry, Told]:
            operands = params, batch, teacher, fill.share, fill.key
            if slot.fixed:
                extents = self.largest
                learnt = self._learn(slot, extents, *operands)
            else:
                genotype = self._picked(slot, params, batch, fill)
                extents = indexed_extents(self.space, genotype, "masked")
                learn = functools.partial(self._learn, slot)
                learnt = run_subnet(
                    self.space, genotype, learn, *operands, execution=self.execution
                )
            told = Told(learnt.loss, optax.tree.norm(learnt.gradient))
            return self._added(carry, learnt, extents), told

        if not slot.optional:
            return train(carry)
        return jax.lax.cond(fill.share > 0, train, _left_out, carry)

    def _picked(
        self, slot: Slot, params: Params, batch: Batch, fill: Fill
    ) -> Int[Array, " genes"]:
        """Returns the candidate that is trained, by its loss on the examples."""
        offered = fill.genotypes[: slot.candidates]
        if slot.candidates == 1:
            return offered[0]

        def loss(extents: Extents, params: Params, batch: Batch) -> Float[Array, ""]:
            outputs = self.network(params, extents)(batch.inputs)
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
    ) -> Learnt:
        loss, (noise_key, loss_key) = self.losses.of(slot), jax.random.split(key)
        noisy = slot.role == "largest"
        noise = self.regularization.noise(noise_key) if noisy else None

        def objective(params: Params) -> tuple[Float[Array, ""], Outputs]:
            params = frozen_but(params, self.trains)
            network = self.network(params, extents, noise)
            lesson = loss(network, batch, teacher, loss_key)
            total = lesson.objective + self.regularization.penalty(params)
            # Here a share costs a product of two numbers, later one with each gradient.
            return share * total, lesson.outputs

        gradient, outputs = jax.grad(objective, has_aux=True)(params)
        # Told in two steps, or the compiler spreads activations as gradients are.
        gradient = self.scattered(self.gathered(gradient))
        return Learnt(gradient, data_loss(outputs.logits, batch.targets), outputs)

    def _added(self, carry: Carry, learnt: Learnt, extents: Extents) -> Carry:
        (gradient, active), previous = carry
        gradient = jax.tree.map(jnp.add, gradient, learnt.gradient)
        if active is not None:
            used = active_entries(self.supernet, extents)
            if self.layout is not None:
                used = self.layout.dealt(used)
            active = jax.tree.map(jnp.logical_or, active, used)
        if previous is not None:
            previous = learnt.outputs
        return Carry(self.scattered(Total(gradient, active)), previous)

    def gathered(self, params: Tree) -> Tree:
        """Returns weights as subnets use them."""
        return params if self.layout is None else self.layout.gathered(params)

    def scattered(self, tree: Tree) -> Tree:
        """Returns what belongs to weights as it is stored."""
        return tree if self.layout is None else self.layout.scattered(tree)


def _left_out(carry: Carry) -> tuple[Carry, Told]:
    return carry, Told(jnp.full((), jnp.nan), jnp.full((), jnp.nan))


def zeros_like(tree: PyTree, dtype: type[bool] | None = None) -> PyTree:
    """Returns zeros in the shapes of a tree.

    Args:
        tree: Of arrays, or of their shapes.
        dtype: Of the zeros; none for those of the tree.
    """

    def zeros(leaf: Array | jax.ShapeDtypeStruct) -> Array:
        return jnp.zeros(leaf.shape, dtype or leaf.dtype)

    return jax.tree.map(zeros, tree)
