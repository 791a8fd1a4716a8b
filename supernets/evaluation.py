"""Evaluating many subnets with one compiled program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.extents import Execution
from search.space import Genotypes, Space
from supernets.execution import run_subnet
from supernets.losses import NATS_PER_BIT, cross_entropy
from supernets.lowering import Extents
from supernets.weights import Params

Windows = Int[np.ndarray, "windows tokens"]
Evaluate = Callable[
    [Params, Genotypes, Windows, Windows], Float[np.ndarray, " population"]
]


def make_evaluate(
    supernet: nnx.Module, space: Space, *, execution: Execution = "auto"
) -> Evaluate:
    """Returns a function from parameters and genotypes to losses in bits per token.

    It compiles once for each number of genotypes and shape of data; callers keep both
    constant. Subnets run one after the other, so memory is that of one subnet.
    """
    graph = nnx.graphdef(supernet)

    @jax.jit
    def many(params: Params, genotypes: Array, inputs: Array, targets: Array) -> Array:
        def loss(extents: Extents, params: Params, *data: Array) -> Array:
            inputs, targets = data
            logits = nnx.merge(graph, params)(inputs, extents)
            return cross_entropy(logits, targets) / NATS_PER_BIT

        def one(genotype: Array) -> Array:
            operands = (params, inputs, targets)
            return run_subnet(space, genotype, loss, *operands, execution=execution)

        return jax.lax.map(one, genotypes)

    def evaluate(
        params: Params, genotypes: Genotypes, inputs: Windows, targets: Windows
    ) -> Float[np.ndarray, " population"]:
        losses = many(params, *map(jnp.asarray, (genotypes, inputs, targets)))
        return np.asarray(losses, np.float64)

    return evaluate
