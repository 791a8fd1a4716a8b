"""What losses train in the conformance suite: a decoder, and networks on images."""

from typing import NamedTuple

from flax import nnx

from supernets.losses.loss import Batch, Outputs
from supernets.losses.losses import exit_depths
from supernets.lowering import fixed_extents
from supernets.network import Subnet
from tests.kernels.comparison import quick_jit
from tests.supernets.losses.networks import ImageNetwork, image_batch, image_weights
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    with_weights,
)

SPEC = small_decoder(heads=(1,))
SPACE = SPEC.space()


def decoder_network(weights, genotype=SPACE.largest) -> Subnet:
    extents = fixed_extents(SPACE, genotype)
    graph, params = nnx.split(with_weights(SPEC, weights))
    return Subnet(graph, params, extents, None, exit_depths(SPACE))


class World(NamedTuple):
    """Something to train: weights, what makes a network of them, data, a teacher."""

    weights: dict
    network: object
    smaller: object
    batch: Batch
    teacher: Outputs


def world(name: str) -> World:
    if name == "tokens":
        weights, batch = random_weights(SPEC), Batch(*random_windows())
        network = decoder_network
        smaller = _smaller_decoder
        teacher = random_weights(SPEC, 1)
    else:
        tasks = name == "tasks"
        weights, batch = image_weights(tasks=tasks), image_batch(tasks=tasks)
        network, smaller = ImageNetwork, _smaller_image_network
        teacher = image_weights(tasks=tasks, seed=50)
    taught = quick_jit(lambda weights, inputs: network(weights)(inputs))
    return World(weights, network, smaller, batch, taught(teacher, batch.inputs))


def _smaller_decoder(weights) -> Subnet:
    return decoder_network(weights, SPACE.smallest)


def _smaller_image_network(weights) -> ImageNetwork:
    return ImageNetwork(weights, width=4)
