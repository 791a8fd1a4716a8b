"""Small models with random weights, and what is active in them."""

import functools
import operator

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
from flax import nnx

from search.space import Architecture, Genotype, Space
from supernets.decoder.spec import Decoder
from supernets.model import Model
from supernets.multitask.spec import MultiTask, Task
from supernets.vision.spec import VisionTransformer

BATCH, TOKENS, VOCABULARY = 2, 4, 7
IMAGE, PATCH, CLASSES = (4, 2, 2), 2, 5
TASKS = {"one": 3, "two": 5}
"""Classes of each task."""

Weights = dict[str, np.ndarray]


@st.composite
def stack_arguments(draw, *, layers: int = 2, group: int = 1):
    """Draws the sizes of a small stack, to be built in the test.

    Types are checked when it is built, which draws from Python's global random state.
    """

    def some(values):
        return tuple(sorted(draw(st.sets(st.sampled_from(values), min_size=1))))

    def some_or_none(values):
        return (0,) * draw(st.booleans()) + some(values)

    return {
        "width": some((4, 6, 8)),
        "heads": tuple(group * heads for heads in some_or_none((1, 2))),
        "ffn": some_or_none((2, 3, 5)),
        "depth": some(tuple(range(1, layers + 1))),
        "gated": draw(st.booleans()),
        "norm": draw(st.sampled_from(["rms", "layer"])),
    }


@st.composite
def decoder_arguments(draw, *, layers: int = 2):
    """Draws the sizes of a small `Decoder`."""
    group = draw(st.sampled_from([1, 2]))
    sizes = draw(stack_arguments(layers=layers, group=group))
    return {**sizes, "head_dim": 2, "group": group, "vocabulary": VOCABULARY}


@st.composite
def vision_arguments(draw, *, layers: int = 2):
    """Draws the sizes of a small `VisionTransformer`."""
    sizes = draw(stack_arguments(layers=layers))
    head_dim, pooling = draw(st.integers(2, 3)), draw(st.sampled_from(POOLINGS))
    inputs = {"image": IMAGE, "patch": PATCH, "classes": CLASSES}
    return {**sizes, **inputs, "head_dim": head_dim, "pooling": pooling}


@st.composite
def multi_task_arguments(draw, *, layers: int = 2):
    """Draws the sizes of a small `MultiTask`, which `multi_task` builds."""
    sizes = draw(stack_arguments(layers=layers))
    del sizes["gated"]
    tasks = [
        {"name": name, "classes": count, "units": draw(st.sampled_from(UNITS))}
        for name, count in TASKS.items()
    ]
    decoders = {"tasks": tasks, "decoder_layers": draw(st.integers(1, 2))}
    return {**sizes, **decoders, "image": IMAGE, "patch": PATCH, "head_dim": 2}


def multi_task(arguments, **changes) -> MultiTask:
    """Builds what `multi_task_arguments` drew."""
    tasks = tuple(Task(**task) for task in arguments["tasks"])
    return MultiTask(**{**arguments, "tasks": tasks, **changes})


UNITS = ((4,), (0, 3), (2, 3, 5))

POOLINGS = ("mean", "token")

TWO_SIZES = {"width": (4, 8), "heads": (1, 2), "ffn": (3, 6), "depth": (1, 2)}


def small_decoder(**changes) -> Decoder:
    """A decoder with two sizes of everything."""
    return Decoder(**{**TWO_SIZES, "head_dim": 4, "vocabulary": VOCABULARY, **changes})


def small_vision(**changes) -> VisionTransformer:
    """A vision transformer with two sizes of everything."""
    inputs = {"image": IMAGE, "patch": PATCH, "classes": CLASSES}
    return VisionTransformer(**{**TWO_SIZES, "head_dim": 3, **inputs, **changes})


def small_multi_task(**changes) -> MultiTask:
    """A multi-task network with two sizes of everything, each task's its own."""
    units = {"one": (2, 5), "two": (0, 3)}
    tasks = tuple(
        Task(name=name, classes=count, units=units[name])
        for name, count in TASKS.items()
    )
    inputs = {"image": IMAGE, "patch": PATCH, "tasks": tasks}
    return MultiTask(**{**TWO_SIZES, "head_dim": 3, **inputs, **changes})


def shapes(module: nnx.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of a module's parameters, which need not exist yet."""
    paths = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return {".".join(map(str, path)): variable.shape for path, variable in paths}


@functools.cache
def unweighted(spec: Model) -> nnx.Module:
    """The supernet before it has weights: nothing is computed or compiled."""
    return nnx.eval_shape(lambda: spec.build(rngs=nnx.Rngs(0)))


def random_weights(spec: Model, seed: int = 0) -> Weights:
    """Random weights everywhere, norms included."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(scale=0.5, size=shape).astype(np.float32)
        for name, shape in shapes(unweighted(spec)).items()
    }


def with_weights(spec: Model, weights) -> nnx.Module:
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


def random_batch(spec: Model, seed: int = 0):
    """Inputs of a model and targets."""
    if isinstance(spec, Decoder):
        return random_windows(seed, vocabulary=spec.vocabulary)
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(BATCH, *spec.image)).astype(np.float32)
    if isinstance(spec, MultiTask):
        labels = {task.name: _labels(task.classes, rng) for task in spec.tasks}
        return jnp.asarray(images), labels
    return jnp.asarray(images), _labels(spec.classes, rng)


def _labels(classes: int, rng: np.random.Generator) -> jnp.ndarray:
    return jnp.asarray(rng.integers(0, classes, BATCH).astype(np.int32))


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


def active_parts(spec: Model, architecture: Architecture) -> dict[str, np.ndarray]:
    """Which entries of every weight of the supernet belong to a subnet."""
    full = shapes(unweighted(spec))
    width, stack = architecture["width"], spec.stack
    where = _outside_layers(spec, architecture) | _norm("norm", width)
    for row, layer in enumerate(architecture.layers):
        heads, ffn = architecture["heads"][row], architecture["ffn"][row]
        block = {
            "attention.query": np.s_[:width, :heads],
            "attention.key": np.s_[:width, : heads // stack.group],
            "attention.value": np.s_[:width, : heads // stack.group],
            "attention.output": np.s_[:heads, :, :width],
            "feed_forward.up": np.s_[:width, :ffn],
            "feed_forward.gate": np.s_[:width, :ffn],
            "feed_forward.down": np.s_[:ffn, :width],
            **(_norm("attention_norm", width) if heads else {}),
            **(_norm("feed_forward_norm", width) if ffn else {}),
        }
        where |= {f"blocks.{layer}.{name}": index for name, index in block.items()}
    parts = {name: np.zeros(shape, bool) for name, shape in full.items()}
    for name in parts.keys() & where.keys():
        parts[name][where[name]] = True
    return parts


def poisoned(spec: Model, weights: Weights, architecture: Architecture) -> Weights:
    """The weights with NaN and infinity in every entry that a subnet does not have."""
    bad = [np.nan, np.inf, -np.inf]
    return {
        name: np.where(part, weights[name], np.resize(bad, part.shape)).astype("f4")
        for name, part in active_parts(spec, architecture).items()
    }


def _outside_layers(spec: Model, architecture: Architecture) -> dict[str, object]:
    width = architecture["width"]
    if isinstance(spec, Decoder):
        return {"embedding.table": np.s_[:, :width]}
    embedded = {
        "patch_embedding.kernel": np.s_[:, :width],
        "patch_embedding.bias": np.s_[:width],
        "positions.table": np.s_[:, :width],
    }
    if isinstance(spec, MultiTask):
        decoders = [_task_decoder(spec, task, architecture) for task in spec.tasks]
        return functools.reduce(operator.or_, decoders, embedded)
    token = {"class_token.vector": np.s_[:width]}
    return embedded | token | _head("", width)


def _task_decoder(
    spec: MultiTask, task: Task, architecture: Architecture
) -> dict[str, object]:
    name, width = f"decoders.{task.name}.", architecture["width"]
    found = _norm(f"{name}norm", width) | _head(name, width)
    units = architecture[f"{task.name}_units"]
    for layer in range(spec.decoder_layers if units else 0):
        block = f"{name}blocks.{layer}.feed_forward"
        found[f"{block}.up"] = np.s_[:width, :units]
        found[f"{block}.down"] = np.s_[:units, :width]
        found |= _norm(f"{block}_norm", width)
    return found


def _head(owner: str, width: int) -> dict[str, object]:
    return {f"{owner}head.kernel": np.s_[:width], f"{owner}head.bias": np.s_[:]}


def _norm(name: str, width: int) -> dict[str, slice]:
    return {f"{name}.{part}": np.s_[:width] for part in ("scale", "bias")}
