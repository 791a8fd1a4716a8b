"""Small decoders with random weights, and what is active in them."""

import functools

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
from flax import nnx

from search.space import Architecture, Genotype, Space
from supernets.decoder.elastic import ElasticDecoder
from supernets.decoder.spec import Decoder

BATCH, TOKENS, VOCABULARY = 2, 4, 7

Weights = dict[str, np.ndarray]


@st.composite
def decoder_arguments(draw, *, layers: int = 2):
    """Draws the sizes of a small `Decoder`, to be built in the test.

    Types are checked when it is built, which draws from Python's global random state.
    """

    def some(values):
        return tuple(sorted(draw(st.sets(st.sampled_from(values), min_size=1))))

    group = draw(st.sampled_from([1, 2]))
    return {
        "width": some((4, 6, 8)),
        "heads": tuple(group * heads for heads in some((1, 2))),
        "ffn": some((2, 3, 5)),
        "depth": some(tuple(range(1, layers + 1))),
        "head_dim": 2,
        "group": group,
        "gated": draw(st.booleans()),
        "norm": draw(st.sampled_from(["rms", "layer"])),
        "vocabulary": VOCABULARY,
    }


def small_decoder(**changes) -> Decoder:
    """A decoder with two sizes of everything."""
    sizes = {"width": (4, 8), "heads": (1, 2), "ffn": (3, 6), "depth": (1, 2)}
    return Decoder(**{**sizes, "head_dim": 4, "vocabulary": VOCABULARY, **changes})


def shapes(module: nnx.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of a module's parameters, which need not exist yet."""
    paths = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return {".".join(map(str, path)): variable.shape for path, variable in paths}


@functools.cache
def unweighted(spec: Decoder) -> ElasticDecoder:
    """The supernet before it has weights: nothing is computed or compiled."""
    return nnx.eval_shape(lambda: spec.build(rngs=nnx.Rngs(0)))


def random_weights(spec: Decoder, seed: int = 0) -> Weights:
    """Random weights everywhere, norms included."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(scale=0.5, size=shape).astype(np.float32)
        for name, shape in shapes(unweighted(spec)).items()
    }


def with_weights(spec: Decoder, weights) -> ElasticDecoder:
    """The supernet with the given weights, which may be traced."""
    graph, state = nnx.split(unweighted(spec))
    named = [
        (path, variable.replace(jnp.asarray(weights[".".join(map(str, path))])))
        for path, variable in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(named))


def random_windows(seed: int = 0, *, batch: int = BATCH, vocabulary: int = VOCABULARY):
    """Inputs, and the same one token later."""
    rng = np.random.default_rng(seed)
    windows = rng.integers(0, vocabulary, (batch, TOKENS + 1)).astype(np.int32)
    return jnp.asarray(windows[:, :-1]), jnp.asarray(windows[:, 1:])


def one_hot_probabilities(space: Space, genotype: Genotype) -> dict[str, jnp.ndarray]:
    """What `mixed_extents` takes for a single genotype."""
    rows = {
        choice.name: np.eye(len(choice.values))[genotype[space.slices[choice.name]]]
        for choice in space.choices
    }
    hot = {
        c.name: rows[c.name][slice(None) if c.per_layer else 0] for c in space.choices
    }
    if space.free:
        hot["depth"] = np.eye(2)[genotype[: space.layers]]
    elif space.depth is not None:
        hot["depth"] = np.eye(len(space.depth.values))[genotype[0]]
    return {name: jnp.asarray(row, jnp.float32) for name, row in hot.items()}


def active_parts(spec: Decoder, architecture: Architecture) -> dict[str, np.ndarray]:
    """Which entries of every weight of the supernet belong to a subnet."""
    full = shapes(unweighted(spec))
    width = architecture["width"]
    where = {"embedding.table": np.s_[:, :width], **_norm("norm", width)}
    for row, layer in enumerate(architecture.layers):
        heads, ffn = architecture["heads"][row], architecture["ffn"][row]
        block = {
            "attention.query": np.s_[:width, :heads],
            "attention.key": np.s_[:width, : heads // spec.group],
            "attention.value": np.s_[:width, : heads // spec.group],
            "attention.output": np.s_[:heads, :, :width],
            "feed_forward.up": np.s_[:width, :ffn],
            "feed_forward.gate": np.s_[:width, :ffn],
            "feed_forward.down": np.s_[:ffn, :width],
            **_norm("attention_norm", width),
            **_norm("feed_forward_norm", width),
        }
        where |= {f"blocks.{layer}.{name}": index for name, index in block.items()}
    parts = {name: np.zeros(shape, bool) for name, shape in full.items()}
    for name in parts.keys() & where.keys():
        parts[name][where[name]] = True
    return parts


def _norm(name: str, width: int) -> dict[str, slice]:
    return {f"{name}.{part}": np.s_[:width] for part in ("scale", "bias")}
