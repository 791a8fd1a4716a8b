"""Evaluating many subnets with one compiled program."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from kernels.dispatch import forced
from kernels.executions import Execution
from search.space import Genotypes, Space
from supernets.execution import run_subnet
from supernets.losses.entropy import cross_entropy, data_loss
from supernets.losses.pgd import Pgd
from supernets.lowering import Extents
from supernets.population import chunk_size, free_bytes
from supernets.weights import Params

Inputs = (
    Int[np.ndarray, "examples tokens"]
    | Float[np.ndarray, "examples height width channels"]
)
Labels = Int[np.ndarray, "examples *positions"]
Targets = Labels | Mapping[str, Labels]
Scores = dict[str, Float[np.ndarray, " population"]]
Evaluate = Callable[[Params, Genotypes, Inputs, Targets], Scores]

QUICK_TO_COMPILE = {"xla_backend_optimization_level": 1}
"""For CPUs, where matrix products are calls of a library: the rest gains nothing from
more, and a program with a body for every size compiles in half the time."""

ATTACK_SEED = 0
"""Every subnet is attacked from the same random start, so that scores compare."""


def make_evaluate(
    supernet: nnx.Module,
    space: Space,
    *,
    adversary: Pgd | None = None,
    execution: Execution = "auto",
    budget: int | None = None,
) -> Evaluate:
    """Returns a function from parameters and genotypes to scores; see :func:`scores`.

    It compiles once for each number of genotypes and shape of data; callers keep both
    constant. Subnets run one after the other, each at its own cost. Masked, they cost
    the same, so as many run side by side as memory allows; to find out how many takes
    two more programs.

    Args:
        supernet: The supernet; its parameters are not kept.
        space: Its search space.
        adversary: If given, there is ``adversarial_error`` too: the error on inputs
            that it has changed to raise the loss on the data of the very subnet that is
            scored, from the same random start for each (Madry 2018, section 2.1). Then
            inputs are real numbers.
        execution: How subnets run; see `kernels.dispatch`.
        budget: Bytes for temporaries of the masked execution; unless given, as many as
            are free.
    """
    many = _compiled(nnx.graphdef(supernet), space, adversary, execution)
    # Of parameters that need not exist yet, or not stay.
    shapes = jax.tree.map(_shape, nnx.state(supernet, nnx.Param))

    @functools.cache
    def chunk_for(
        population: int, structure: jax.tree_util.PyTreeDef, *data: jax.ShapeDtypeStruct
    ) -> int:
        inputs, targets = jax.tree.unflatten(structure, data)
        budget_bytes = free_bytes() if budget is None else budget

        def temporary_bytes(count: int) -> int:
            rows = jax.ShapeDtypeStruct((count, space.genes), jnp.int32)
            lowered = many.lower(shapes, rows, inputs, targets, chunk=count)
            analysis = lowered.compile().memory_analysis()
            # Without an analysis, as on some backends, one at a time is sure to fit.
            return budget_bytes if analysis is None else analysis.temp_size_in_bytes

        return chunk_size(temporary_bytes, population=population, budget=budget_bytes)

    def evaluate(
        params: Params, genotypes: Genotypes, inputs: Inputs, targets: Targets
    ) -> Scores:
        chunk = 1
        if forced(execution) == "masked":
            data, structure = jax.tree.flatten((inputs, targets))
            chunk = chunk_for(len(genotypes), structure, *map(_shape, data))
        arrays = jax.tree.map(jnp.asarray, (genotypes, inputs, targets))
        found = many(params, *arrays, chunk=chunk)
        return {name: np.asarray(row, np.float64) for name, row in found.items()}

    return evaluate


def _compiled(
    graph: nnx.GraphDef[nnx.Module],
    space: Space,
    adversary: Pgd | None,
    execution: Execution,
) -> jax.stages.Wrapped:
    """Returns the program that scores genotypes, so many side by side."""

    def score(
        extents: Extents, params: Params, inputs: Array, targets: PyTree
    ) -> dict[str, Array]:
        def logits(inputs: Array) -> Array | Mapping[str, Array]:
            return nnx.merge(graph, params)(inputs, extents)

        found = scores(logits(inputs), targets)
        if adversary is None:
            return found

        def harm(inputs: Array) -> Array:
            return data_loss(logits(inputs), targets)

        changed = adversary.attack(harm, inputs, jax.random.key(ATTACK_SEED))
        attacked = scores(logits(changed), targets)["error"]
        return {**found, "adversarial_error": attacked}

    options = QUICK_TO_COMPILE if jax.default_backend() == "cpu" else None

    @functools.partial(jax.jit, static_argnames="chunk", compiler_options=options)
    def many(
        params: Params,
        genotypes: Array,
        inputs: Array,
        targets: PyTree,
        *,
        chunk: int,
    ) -> dict[str, Array]:
        def one(genotype: Array) -> dict[str, Array]:
            operands = (params, inputs, targets)
            return run_subnet(space, genotype, score, *operands, execution=execution)

        if chunk == 1:
            return jax.lax.map(one, genotypes)
        return jax.lax.map(one, genotypes, batch_size=chunk)

    return many


def scores(
    logits: Array | Mapping[str, Array], targets: Array | Mapping[str, Array]
) -> dict[str, Float[Array, ""]]:
    """Returns how well predictions fit their targets.

    ``loss`` is the cross-entropy in nats and ``error`` the share of predictions whose
    most probable class is wrong, both as means over examples (or tokens). With several
    tasks there are ``loss_TASK`` and ``error_TASK`` of each as well; then ``loss`` is
    their sum, which is what training minimises, and ``error`` their mean, a share.

    Args:
        logits: Of shape ``(..., classes)``; of several tasks, by the task's name.
        targets: Class indices, of the shape of logits without their last axis.
    """
    several = isinstance(logits, Mapping)
    errors = jax.tree.map(error, logits, targets)
    found = {
        "loss": data_loss(logits, targets),
        "error": jnp.mean(jnp.stack(jax.tree.leaves(errors))),
    }
    losses = jax.tree.map(cross_entropy, logits, targets)
    for task in logits if several else ():
        found[f"loss_{task}"] = losses[task]
        found[f"error_{task}"] = errors[task]
    return found


def error(
    logits: Float[Array, "*batch classes"], targets: Int[Array, "*batch"]
) -> Float[Array, ""]:
    """Returns the share of predictions whose most probable class is wrong."""
    wrong = jnp.argmax(logits, axis=-1) != targets
    return jnp.mean(wrong.astype(jnp.float32))


def _shape(leaf: Array | np.ndarray | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
