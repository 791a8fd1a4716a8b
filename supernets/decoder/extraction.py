"""Extraction: a subnet cut out of the supernet as a network that stands alone."""

from flax import nnx

from search.space import Architecture
from supernets.decoder.plain import PlainDecoder, PlainDecoderConfig
from supernets.decoder.spec import ROTARY_BASE, Decoder
from supernets.quantization.plain_precision import plain_precision
from supernets.transformer.extraction import cut_weights, plain_weights, running_sizes
from supernets.weights import set_weights


def plain_config(spec: Decoder, architecture: Architecture) -> PlainDecoderConfig:
    """Returns the sizes of the plain network for an architecture.

    Raises:
        ValueError: If the architecture is not a member of the spec's space.
    """
    sizes = running_sizes(spec.space(), architecture)
    return PlainDecoderConfig(
        vocabulary=spec.vocabulary,
        head_dim=spec.head_dim,
        kv_heads=tuple(count // spec.group for count in sizes.heads),
        gated=spec.gated,
        norm=spec.norm,
        rotary_base=ROTARY_BASE,
        width=sizes.width,
        heads=sizes.heads,
        ffn=sizes.ffn,
        precision=plain_precision(spec.precision, architecture),
    )


def extract(
    supernet: nnx.Module, spec: Decoder, architecture: Architecture
) -> PlainDecoder:
    """Returns the subnet as a plain network that holds only its own weights.

    Raises:
        ValueError: If the architecture is not a member of the spec's space.
    """
    config = plain_config(spec, architecture)
    network = nnx.eval_shape(lambda: PlainDecoder(config, rngs=nnx.Rngs(0)))
    cut = cut_weights(supernet, spec.space(), architecture)
    names = {"embedding.table": "embedding.embedding"}
    if config.precision is not None:
        # Stored as the head reads it.
        names = {"embedding.table": "embedding.kernel"}
        cut["embedding.table"] = cut["embedding.table"].T
    weights = plain_weights(cut, architecture.layers, names, config.precision)
    set_weights(network, weights)
    return network
