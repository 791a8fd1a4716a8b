"""Extraction: a subnet cut out of the supernet as a network that stands alone."""

from flax import nnx

from search.space import Architecture
from supernets.decoder.elastic import ElasticDecoder
from supernets.decoder.plain import PlainDecoder, PlainDecoderConfig
from supernets.decoder.spec import Decoder
from supernets.weights import Weight, flat_weights, set_weights


def plain_config(spec: Decoder, architecture: Architecture) -> PlainDecoderConfig:
    """Returns the sizes of the plain network for an architecture.

    Raises:
        ValueError: If the architecture is not a member of the spec's space.
    """
    space = spec.space()
    genotype = space.encode(architecture)[None]
    running = list(architecture.layers)
    heads = tuple(int(h) for h in space.values(genotype, "heads")[0, running])
    return PlainDecoderConfig(
        vocabulary=spec.vocabulary,
        width=int(space.values(genotype, "width")[0]),
        head_dim=spec.head_dim,
        heads=heads,
        kv_heads=tuple(count // spec.group for count in heads),
        ffn=tuple(int(f) for f in space.values(genotype, "ffn")[0, running]),
        gated=spec.gated,
        norm=spec.norm,
    )


def extract(
    supernet: ElasticDecoder, spec: Decoder, architecture: Architecture
) -> PlainDecoder:
    """Returns the subnet as a plain network that holds only its own weights."""
    config = plain_config(spec, architecture)
    network = nnx.eval_shape(lambda: PlainDecoder(config, rngs=nnx.Rngs(0)))
    set_weights(network, _sliced(supernet, config, architecture.layers))
    return network


def _sliced(
    supernet: ElasticDecoder, config: PlainDecoderConfig, layers: tuple[int, ...]
) -> dict[str, Weight]:
    """Cuts every stored weight to the subnet and names it as the plain network does."""
    stored = flat_weights(supernet)
    width = config.width
    taken = {"embedding.embedding": stored["embedding.table"][:, :width]}
    taken |= _norm(stored, "norm", width)
    for new, old in enumerate(layers):
        source, target = f"blocks.{old}.", f"blocks.{new}."
        heads, kv_heads = config.heads[new], config.kv_heads[new]
        counts = {"query": heads, "key": kv_heads, "value": kv_heads}
        for name, count in counts.items():
            weight = stored[f"{source}attention.{name}"][:width, :count]
            taken[f"{target}attention.{name}.kernel"] = weight.reshape(width, -1)
        output = stored[f"{source}attention.output"][:heads, :, :width]
        taken[f"{target}attention.output.kernel"] = output.reshape(-1, width)
        hidden = config.ffn[new]
        for name in ("up", "gate") if config.gated else ("up",):
            weight = stored[f"{source}feed_forward.{name}"]
            taken[f"{target}feed_forward.{name}.kernel"] = weight[:width, :hidden]
        down = stored[f"{source}feed_forward.down"][:hidden, :width]
        taken[f"{target}feed_forward.down.kernel"] = down
        for name in ("attention_norm", "feed_forward_norm"):
            norm = _norm(stored, f"{source}{name}", width)
            taken |= {target + key.removeprefix(source): v for key, v in norm.items()}
    return taken


def _norm(stored: dict[str, Weight], name: str, width: int) -> dict[str, Weight]:
    parts = (f"{name}.scale", f"{name}.bias")
    return {part: stored[part][:width] for part in parts if part in stored}
