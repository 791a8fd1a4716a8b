"""Zero-cost proxies of many subnets by one compiled program."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from kernels.executions import Execution
from search.space import Genotypes, Space
from supernets.evaluation import QUICK_TO_COMPILE, Evaluate, Inputs, Scores, Targets
from supernets.execution import run_subnet
from supernets.losses.entropy import data_loss
from supernets.lowering import Extents
from supernets.proxies.measures import gradient_norm, jacobian_volume, synaptic_flow
from supernets.proxies.names import PROXIES, Proxy, metric_name
from supernets.proxies.rewired import (
    embed_ones,
    embedded_width,
    hold_norms,
    shift_embedding,
)
from supernets.weights import Params

Logits = Array | Mapping[str, Array]
Rewire = Callable[[nnx.Module], None]


@dataclasses.dataclass(frozen=True)
class _Subnet:
    """A subnet as a function of weights and inputs.

    Attributes:
        graph: Of the supernet.
        extents: Which subnet.
        embedded: Width of what tokens are looked up in, where there is one such.
    """

    graph: nnx.GraphDef[nnx.Module]
    extents: Extents
    embedded: int | None

    def __call__(
        self, params: Params, inputs: Array, rewire: Rewire | None = None
    ) -> Logits:
        """Returns the logits, of a supernet that may be changed first."""
        supernet = nnx.merge(self.graph, params)
        if rewire is not None:
            rewire(supernet)
        return supernet(inputs, self.extents)


def make_proxies(
    supernet: nnx.Module,
    space: Space,
    proxies: Collection[Proxy],
    *,
    execution: Execution = "auto",
) -> Evaluate:
    """Returns a function from parameters and genotypes to proxies.

    Called as what `supernets.evaluation.make_evaluate` returns, it gives an array for
    each proxy, by `supernets.proxies.names.metric_name`. It compiles once for each
    number of genotypes and shape of data; subnets run one after the other. What a
    subnet does not have adds nothing: its proxies are those of the network cut out.

    ``jacobian`` costs the square of the examples in memory and their cube in time: a
    few dozen are enough.

    Args:
        supernet: The supernet; its parameters are not kept.
        space: Its search space.
        proxies: Which.
        execution: How subnets run; see `kernels.dispatch`.

    Raises:
        ValueError: If no proxy is named, or one that there is not.
    """
    unknown = sorted(set(proxies) - set(PROXIES))
    if unknown or not proxies:
        raise ValueError(f"name some of the proxies {PROXIES}, got {tuple(proxies)}")
    graph = nnx.graphdef(supernet)
    wanted = [proxy for proxy in PROXIES if proxy in proxies]

    embedded = embedded_width(supernet)

    def measured(
        extents: Extents, params: Params, inputs: Array, targets: PyTree
    ) -> dict[str, Array]:
        given = _Subnet(graph, extents, embedded), params, inputs, targets
        return {metric_name(proxy): MEASURES[proxy](*given) for proxy in wanted}

    options = QUICK_TO_COMPILE if jax.default_backend() == "cpu" else None

    @functools.partial(jax.jit, compiler_options=options)
    def many(
        params: Params, genotypes: Array, inputs: Array, targets: PyTree
    ) -> dict[str, Array]:
        def one(genotype: Array) -> dict[str, Array]:
            operands = params, inputs, targets
            return run_subnet(space, genotype, measured, *operands, execution=execution)

        return jax.lax.map(one, genotypes)

    def evaluate(
        params: Params, genotypes: Genotypes, inputs: Inputs, targets: Targets
    ) -> Scores:
        arrays = jax.tree.map(jnp.asarray, (genotypes, inputs, targets))
        found = many(params, *arrays)
        return {name: np.asarray(row, np.float64) for name, row in found.items()}

    return evaluate


def _gradient_norm(
    subnet: _Subnet, params: Params, inputs: Array, targets: PyTree
) -> Float[Array, ""]:
    """Measures the loss on the data, in nats."""
    return gradient_norm(lambda p: data_loss(subnet(p, inputs), targets), params)


def _synaptic_flow(
    subnet: _Subnet,
    params: Params,
    inputs: Array,
    targets: PyTree,  # noqa: ARG001 - no data are looked at
) -> Float[Array, ""]:
    """Measures one example of ones: an image, or tokens whose embeddings are ones.

    Norms are held (see `supernets.proxies.rewired.HeldNorm`). Attention is as always:
    among tokens that are all the same it averages, and no path leads through queries
    and keys.
    """
    ones = jnp.ones_like(inputs[:1])

    def rewire(supernet: nnx.Module) -> None:
        hold_norms(supernet)
        embed_ones(supernet)

    return synaptic_flow(lambda p: _summed(subnet(p, ones, rewire)), params)


def _jacobian_volume(
    subnet: _Subnet,
    params: Params,
    inputs: Array,
    targets: PyTree,  # noqa: ARG001 - outputs alone matter
) -> Float[Array, ""]:
    """Measures Jacobians by images, or by the embeddings of tokens.

    Raises:
        ValueError: If tokens are not looked up in one embedding.
    """
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        return jacobian_volume(lambda x: _summed(subnet(params, x)), inputs)
    if subnet.embedded is None:
        raise ValueError(
            "the proxy 'jacobian' of a network that reads tokens is taken at the "
            "output of its token embedding (supernets.layers.ElasticEmbedding), of "
            "which it must have one: leave the proxy out"
        )

    def output(shift: Array) -> Float[Array, ""]:
        def rewire(supernet: nnx.Module) -> None:
            shift_embedding(supernet, shift)

        return _summed(subnet(params, inputs, rewire))

    return jacobian_volume(output, jnp.zeros((*inputs.shape, subnet.embedded)))


MEASURES: dict[Proxy, Callable[..., Float[Array, ""]]] = {
    "grad_norm": _gradient_norm,
    "synflow": _synaptic_flow,
    "jacobian": _jacobian_volume,
}


def _summed(logits: Logits) -> Float[Array, ""]:
    """Returns the sum of all logits, of all tasks."""
    return functools.reduce(jnp.add, map(jnp.sum, jax.tree.leaves(logits)))
