"""Extraction: a subnet cut out of the supernet as a network that stands alone."""

from flax import nnx

from search.space import Architecture
from supernets.multitask.plain import PlainMultiTask, PlainMultiTaskConfig
from supernets.multitask.spec import MultiTask
from supernets.transformer.extraction import cut_weights, plain_weights, running_sizes
from supernets.weights import set_weights


def plain_config(spec: MultiTask, architecture: Architecture) -> PlainMultiTaskConfig:
    """Returns the sizes of the plain network for an architecture.

    Raises:
        ValueError: If the architecture is not a member of the spec's space.
    """
    space = spec.space()
    sizes = running_sizes(space, architecture)
    genotype = space.encode(architecture)[None]
    units = (space.values(genotype, task.choice.name)[0] for task in spec.tasks)
    return PlainMultiTaskConfig(
        image=spec.image,
        patch=spec.patch,
        head_dim=spec.head_dim,
        norm=spec.norm,
        tasks=tuple(task.name for task in spec.tasks),
        classes=tuple(task.classes for task in spec.tasks),
        units=tuple(map(int, units)),
        decoder_layers=spec.decoder_layers,
        width=sizes.width,
        heads=sizes.heads,
        ffn=sizes.ffn,
    )


def extract(
    supernet: nnx.Module, spec: MultiTask, architecture: Architecture
) -> PlainMultiTask:
    """Returns the subnet as a plain network that holds only its own weights.

    Raises:
        ValueError: If the architecture is not a member of the spec's space.
    """
    config = plain_config(spec, architecture)
    network = nnx.eval_shape(lambda: PlainMultiTask(config, rngs=nnx.Rngs(0)))
    cut = cut_weights(supernet, spec.space(), architecture)
    names = {"positions.table": "positions"}
    names |= {
        name: f"{name}.kernel"
        for name in cut
        if name.startswith("decoders.") and ".feed_forward." in name
    }
    set_weights(network, plain_weights(cut, architecture.layers, names))
    return network
