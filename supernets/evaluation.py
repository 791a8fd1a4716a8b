"""Evaluating many subnets with one compiled program."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.dispatch import forced
from kernels.executions import Execution
from search.space import Genotypes, Space
from supernets.execution import run_subnet
from supernets.losses import NATS_PER_BIT, cross_entropy
from supernets.lowering import Extents
from supernets.population import chunk_size, free_bytes
from supernets.weights import Params

Windows = Int[np.ndarray, "windows tokens"]
Evaluate = Callable[
    [Params, Genotypes, Windows, Windows], Float[np.ndarray, " population"]
]


QUICK_TO_COMPILE = {"xla_backend_optimization_level": 1}
"""For CPUs, where matrix products are calls of a library: the rest gains nothing from
more, and a program with a body for every size compiles in half the time."""


def make_evaluate(
    supernet: nnx.Module,
    space: Space,
    *,
    execution: Execution = "auto",
    budget: int | None = None,
) -> Evaluate:
    """Returns a function from parameters and genotypes to losses in bits per token.

    It compiles once for each number of genotypes and shape of data; callers keep both
    constant. Subnets run one after the other, each at its own cost. Masked, they cost
    the same, so as many run side by side as memory allows; to find out how many takes
    two more programs.

    Args:
        supernet: The supernet; its parameters are not kept.
        space: Its search space.
        execution: How subnets run; see `kernels.dispatch`.
        budget: Bytes for temporaries of the masked execution; unless given, as many as
            are free.
    """
    graph = nnx.graphdef(supernet)

    def loss(extents: Extents, params: Params, *data: Array) -> Array:
        inputs, targets = data
        logits = nnx.merge(graph, params)(inputs, extents)
        return cross_entropy(logits, targets) / NATS_PER_BIT

    options = QUICK_TO_COMPILE if jax.default_backend() == "cpu" else None

    @functools.partial(jax.jit, static_argnames="chunk", compiler_options=options)
    def many(
        params: Params,
        genotypes: Array,
        inputs: Array,
        targets: Array,
        *,
        chunk: int,
    ) -> Array:
        def one(genotype: Array) -> Array:
            operands = (params, inputs, targets)
            return run_subnet(space, genotype, loss, *operands, execution=execution)

        if chunk == 1:
            return jax.lax.map(one, genotypes)
        return jax.lax.map(one, genotypes, batch_size=chunk)

    # Of parameters that need not exist yet, or not stay.
    shapes = jax.tree.map(_shape, nnx.state(supernet, nnx.Param))

    @functools.cache
    def chunk_for(population: int, windows: int, tokens: int) -> int:
        data = jax.ShapeDtypeStruct((windows, tokens), jnp.int32)
        budget_bytes = free_bytes() if budget is None else budget

        def temporary_bytes(count: int) -> int:
            rows = jax.ShapeDtypeStruct((count, space.genes), jnp.int32)
            program = many.lower(shapes, rows, data, data, chunk=count).compile()
            analysis = program.memory_analysis()
            # Without an analysis, as on some backends, one at a time is sure to fit.
            return budget_bytes if analysis is None else analysis.temp_size_in_bytes

        return chunk_size(temporary_bytes, population=population, budget=budget_bytes)

    def evaluate(
        params: Params, genotypes: Genotypes, inputs: Windows, targets: Windows
    ) -> Float[np.ndarray, " population"]:
        side_by_side = forced(execution) == "masked"
        chunk = chunk_for(len(genotypes), *inputs.shape) if side_by_side else 1
        arrays = map(jnp.asarray, (genotypes, inputs, targets))
        return np.asarray(many(params, *arrays, chunk=chunk), np.float64)

    return evaluate


def _shape(leaf: Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
