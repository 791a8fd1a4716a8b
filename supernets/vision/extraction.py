"""Extraction: a subnet cut out of the supernet as a network that stands alone."""

from flax import nnx

from search.space import Architecture
from supernets.quantization.plain_precision import plain_precision
from supernets.transformer.extraction import cut_weights, plain_weights, running_sizes
from supernets.vision.plain import PlainVisionTransformer, PlainVisionTransformerConfig
from supernets.vision.spec import VisionTransformer
from supernets.weights import set_weights


def plain_config(
    spec: VisionTransformer, architecture: Architecture
) -> PlainVisionTransformerConfig:
    """Returns the sizes of the plain network for an architecture.

    Raises:
        ValueError: If the architecture is not a member of the spec's space.
    """
    sizes = running_sizes(spec.space(), architecture)
    return PlainVisionTransformerConfig(
        image=spec.image,
        patch=spec.patch,
        classes=spec.classes,
        pooling=spec.pooling,
        head_dim=spec.head_dim,
        gated=spec.gated,
        norm=spec.norm,
        width=sizes.width,
        heads=sizes.heads,
        ffn=sizes.ffn,
        precision=plain_precision(spec.precision, architecture),
    )


def extract(
    supernet: nnx.Module, spec: VisionTransformer, architecture: Architecture
) -> PlainVisionTransformer:
    """Returns the subnet as a plain network that holds only its own weights.

    Raises:
        ValueError: If the architecture is not a member of the spec's space.
    """
    config = plain_config(spec, architecture)
    network = nnx.eval_shape(lambda: PlainVisionTransformer(config, rngs=nnx.Rngs(0)))
    cut = cut_weights(supernet, spec.space(), architecture)
    names = {"class_token.vector": "class_token", "positions.table": "positions"}
    weights = plain_weights(cut, architecture.layers, names, config.precision)
    set_weights(network, weights)
    return network
