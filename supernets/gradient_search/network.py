"""What a search by gradient needs to know of a network: a loss of mixtures."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from kernels.extents import Mixed, prefix_mask
from supernets.activity import active_entries
from supernets.computing import Compute, Remat
from supernets.losses.entropy import data_loss
from supernets.losses.loss import Batch
from supernets.lowering import GATE, Extents
from supernets.network import Subnet
from supernets.rematerialization import compiler_options
from supernets.weights import Params

Loss = Callable[[Params, Extents, Batch], Float[Array, ""]]


@dataclasses.dataclass(frozen=True, eq=False)
class MixedNetwork:
    """A weight-entangled network as a function of weights and extents.

    Attributes:
        loss: On a batch, in nats.
        active: Which entries of the weights a subnet uses; for weights that learn from
            one subnet at a time. `supernets.activity.active_entries` is such.
        options: Of the compiler.
    """

    loss: Loss
    active: Callable[[Extents], Params]
    options: dict[str, str] = dataclasses.field(default_factory=dict)


def mixed_network(
    supernet: nnx.Module, *, compute: Compute = "float32", remat: Remat = "nothing"
) -> MixedNetwork:
    """Returns a supernet with its cross-entropy on the data, summed over tasks.

    Args:
        supernet: Its parameters are not kept; it may have shapes in their place.
        compute: The type that it computes in.
        remat: What it computes again in the backward pass.
    """
    graph = nnx.graphdef(supernet)
    shapes = nnx.eval_shape(lambda: supernet)

    def loss(params: Params, extents: Extents, batch: Batch) -> Float[Array, ""]:
        network = Subnet(graph, params, extents, compute=compute, remat=remat)
        return data_loss(network(batch.inputs).logits, batch.targets)

    def active(extents: Extents) -> Params:
        return active_entries(shapes, gated_by_layer(extents))

    return MixedNetwork(loss, active, compiler_options(remat, jax.default_backend()))


def gated_by_layer(extents: Extents) -> Extents:
    """Returns extents with a gate for each layer in place of one mixture of depths.

    It is on with the probability that the layer runs; of what layers give, gates would
    make another average (`supernets.depth`).
    """
    depth = extents["depth"]
    if not isinstance(depth, Mixed):
        return extents
    runs = prefix_mask(depth, depth.choices[-1])
    gates = jnp.stack([1 - runs, runs], axis=-1)
    return {**extents, "depth": tuple(Mixed(gate, GATE, "depth") for gate in gates)}
