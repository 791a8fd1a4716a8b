"""Evaluating many subnets with one compiled program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from search.space import Genotypes, Space
from supernets.losses import NATS_PER_BIT, cross_entropy
from supernets.lowering import indexed_extents
from supernets.weights import Params

Windows = Int[np.ndarray, "windows tokens"]
Evaluate = Callable[
    [Params, Genotypes, Windows, Windows], Float[np.ndarray, " population"]
]


def make_evaluate(supernet: nnx.Module, space: Space) -> Evaluate:
    """Returns a function from parameters and genotypes to losses in bits per token.

    It compiles once for each number of genotypes and shape of data; callers keep both
    constant. Subnets run one after the other, so memory is that of one subnet.
    """
    graph = nnx.graphdef(supernet)

    @jax.jit
    def many(params: Params, genotypes: Array, inputs: Array, targets: Array) -> Array:
        def one(genotype: Array) -> Array:
            extents = indexed_extents(space, genotype)
            logits = nnx.merge(graph, params)(inputs, extents)
            return cross_entropy(logits, targets) / NATS_PER_BIT

        return jax.lax.map(one, genotypes)

    def evaluate(
        params: Params, genotypes: Genotypes, inputs: Windows, targets: Windows
    ) -> Float[np.ndarray, " population"]:
        losses = many(params, *map(jnp.asarray, (genotypes, inputs, targets)))
        return np.asarray(losses, np.float64)

    return evaluate
