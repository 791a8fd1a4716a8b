"""The equations of zero-cost proxies, of functions of weights or of inputs.

References:
    Abdelfattah, Mehrotra, Dudziak, Lane, "Zero-cost proxies for lightweight NAS", 2021,
    https://arxiv.org/abs/2101.08134.
    Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by
    iteratively conserving synaptic flow", 2020, https://arxiv.org/abs/2006.05467.
    Mellor, Turner, Storkey, Crowley, "Neural architecture search without training",
    2020, version 1, https://arxiv.org/abs/2006.04647v1.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

FLOOR = 1e-5
"""Added to the kernel's eigenvalues, so that inputs may look alike (Mellor 2020)."""


def gradient_norm(
    loss: Callable[[PyTree], Float[Array, ""]], params: PyTree
) -> Float[Array, ""]:
    """Returns the Euclidean length of the gradient of a loss (Abdelfattah 2021).

    Args:
        loss: Of weights. What it does not read has no gradient.
        params: The weights.
    """
    return jnp.sqrt(_total(jnp.square, jax.grad(loss)(params)))


def synaptic_flow(
    output: Callable[[PyTree], Float[Array, ""]], params: PyTree
) -> Float[Array, ""]:
    """Returns ``sum |theta dR/dtheta|`` at the absolute values of all weights.

    ``R`` is the sum of all outputs for an input of ones (Tanaka 2020, equation 1, with
    their objective; the sum over weights is that of Abdelfattah 2021). Of a network of
    linear maps alone it is ``R`` times their number.

    Args:
        output: ``R`` as a function of the weights.
        params: The weights.
    """
    positive = jax.tree.map(jnp.abs, params)
    flows = jax.grad(output)(positive)
    return _total(jnp.abs, jax.tree.map(_saliency, positive, flows))


def jacobian_volume(
    output: Callable[[Array], Float[Array, ""]], inputs: Float[Array, "batch ..."]
) -> Float[Array, ""]:
    """Returns ``log det(K + k I)``, where ``K`` is how alike the Jacobians are.

    Entry ``ij`` of ``K`` is the cosine of ``J_i`` and ``J_j``, the gradients of the
    summed outputs of examples ``i`` and ``j`` by these examples (Mellor 2020, section
    4, version 1). It is 0 at most, where all are orthogonal, and falls the more alike
    they are. There are two departures: their score is ``-sum(log(s + k) + 1 / (s +
    k))`` over the eigenvalues ``s``, whose second term looks at the smallest alone; and
    their ``K`` is a correlation, whose mean over entries would count what a narrow
    network does not have.

    Args:
        output: Sum over examples of a function of each example alone.
        inputs: The examples. A gradient of zero is orthogonal to all.
    """
    jacobians = jax.grad(output)(inputs).reshape(inputs.shape[0], -1)
    lengths = jnp.linalg.norm(jacobians, axis=1, keepdims=True)
    unit = jacobians / jnp.where(lengths > 0, lengths, 1)
    kernel = jnp.matmul(unit, unit.T, precision="highest")
    return jnp.linalg.slogdet(kernel + FLOOR * jnp.eye(len(unit)))[1]


def _total(function: Callable[[Array], Array], tree: PyTree) -> Float[Array, ""]:
    """Returns the sum of a function of all entries of a tree's arrays."""
    parts = [jnp.sum(function(leaf)) for leaf in jax.tree.leaves(tree)]
    return functools.reduce(jnp.add, parts)


def _saliency(weight: Array, flow: Array) -> Array:
    """Returns weights times their flow, 0 where there is none whatever the weight."""
    return jnp.where(flow == 0, jnp.zeros_like(flow), weight * flow)
