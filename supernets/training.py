"""One compiled step that trains every subnet of a sandwich."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.executions import Execution
from search.space import Genotypes, Space
from supernets.execution import run_subnet
from supernets.losses import cross_entropy, distillation
from supernets.lowering import Extents, fixed_extents
from supernets.sandwich import Sandwich
from supernets.weights import Params

Tokens = Int[Array, "batch tokens"]


class TrainState(NamedTuple):
    """What a step changes; everything that must be saved to resume exactly."""

    params: Params
    optimizer: optax.OptState


class StepMetrics(NamedTuple):
    """Losses in nats against the data, for each subnet of the step, and the gradient.

    The order of subnets is largest, smallest, then the random ones.
    """

    losses: Float[Array, " subnets"]
    gradient_norm: Float[Array, ""]


TrainStep = Callable[
    [TrainState, Tokens, Tokens, Genotypes], tuple[TrainState, StepMetrics]
]


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
    sandwich: Sandwich,
    *,
    execution: Execution = "auto",
) -> TrainStep:
    """Returns the jitted step; it compiles once, whatever subnets it is given.

    The largest and the smallest are traced with static sizes, so they cost what they
    are. The random ones share one body with traced sizes, in a scan that accumulates
    their gradients; what they cost depends on the execution.

    Args:
        supernet: The supernet; its parameters are not kept.
        space: Its search space.
        optimizer: Turns the mean gradient of a step into an update.
        sandwich: Which subnets a step trains, and on what.
        execution: How the random subnets run; see `kernels.dispatch`.
    """
    graph = nnx.graphdef(supernet)
    share = sandwich.distillation
    # Params are donated, so what is traced must not hold them.
    largest = fixed_extents(space, space.largest)
    smallest = fixed_extents(space, space.smallest)

    def predict(params: Params, tokens: Tokens, extents: Extents) -> Array:
        return nnx.merge(graph, params)(tokens, extents)

    def teacher_loss(
        params: Params, inputs: Tokens, targets: Tokens
    ) -> tuple[Array, Array]:
        logits = predict(params, inputs, largest)
        return cross_entropy(logits, targets), logits

    def student_loss(
        params: Params,
        inputs: Tokens,
        targets: Tokens,
        teacher: Array,
        *,
        extents: Extents,
    ) -> tuple[Array, Array]:
        logits = predict(params, inputs, extents)
        data = cross_entropy(logits, targets)
        return (1 - share) * data + share * distillation(logits, teacher), data

    def step(
        state: TrainState, inputs: Tokens, targets: Tokens, genotypes: Array
    ) -> tuple[TrainState, StepMetrics]:
        params = state.params
        student = jax.grad(student_loss, has_aux=True)
        (first, teacher), total = jax.value_and_grad(teacher_loss, has_aux=True)(
            params, inputs, targets
        )
        small, second = student(params, inputs, targets, teacher, extents=smallest)

        def of_subnet(
            extents: Extents, params: Params, *data: Array
        ) -> tuple[Params, Array]:
            return student(params, *data, extents=extents)

        def accumulate(total: Params, genotype: Array) -> tuple[Params, Array]:
            operands = (params, inputs, targets, teacher)
            gradient, loss = run_subnet(
                space, genotype, of_subnet, *operands, execution=execution
            )
            return jax.tree.map(jnp.add, total, gradient), loss

        total = jax.tree.map(jnp.add, total, small)
        total, others = jax.lax.scan(accumulate, total, genotypes)
        mean = optax.tree.scale(1 / sandwich.subnets, total)
        # Optax adds whole to real numbers, which a program may have forbidden.
        with jax.numpy_dtype_promotion("standard"):
            updates, optimizer_state = optimizer.update(mean, state.optimizer, params)
        params = jax.tree.map(jnp.add, params, updates)
        metrics = StepMetrics(
            jnp.concatenate([jnp.stack([first, second]), others]),
            optax.tree.norm(mean),
        )
        return TrainState(params, optimizer_state), metrics

    compiled = jax.jit(step, donate_argnums=0)

    def run(
        state: TrainState, inputs: Tokens, targets: Tokens, genotypes: Genotypes
    ) -> tuple[TrainState, StepMetrics]:
        return compiled(state, inputs, targets, np.asarray(genotypes))

    return run
