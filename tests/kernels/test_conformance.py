"""The law of extents, for every operation: a row of `OPERATIONS` admits a new one.

`Fixed`, `Indexed` in each execution and one-hot `Mixed` extents give the same values
and gradients, and what is inactive has no influence and no gradient.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import tiles
from kernels.attention import AttentionWeights, attention_call, self_attention
from kernels.dispatch import run
from kernels.embedding import attend, embed
from kernels.extents import Extent, Fixed, Indexed, Mixed, resized, restrict
from kernels.feed_forward import FeedForward, FeedForwardWeights, feed_forward
from kernels.held_norm import HeldRmsNorm
from kernels.linear import add_bias, matmul
from kernels.normalization import LayerNorm, RmsNorm, layer_norm, rms_norm
from kernels.operation import Call
from kernels.quantization.quantizers import Quantizers
from kernels.quantization.roundings import rounding
from kernels.quantization.scheme import ActivationScheme
from kernels.residual import residual
from tests.kernels.comparison import (
    assert_close,
    assert_equal,
    normal,
    quick_jit,
    whole,
)

SIZES = {
    "features": (3, 4, 6),
    "units": (0, 3, 4, 5),
    "heads": (0, 2, 4),
    "kv_heads": (0, 1, 2),
}
"""Elastic dimensions; the index of kv_heads is that of heads.

None that a norm runs on has a size of 2: the difference of two values may nearly
vanish, and what is divided by it is then mostly rounding.
"""

TOKENS, ROWS, HEAD_DIM, VOCABULARY = 3, 6, 2, 5
IDS = jnp.asarray([0, 4, 2, 2, 1, 0])

Shape = tuple[str | int, ...]
Indices = dict[str, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """An operation: the dimensions of what it takes and gives, and how to run it."""

    name: str
    output: Shape
    weights: dict[str, Shape]
    run: Callable[[dict[str, jax.Array], dict[str, Extent]], jax.Array]
    activations: dict[str, Shape] = dataclasses.field(default_factory=dict)
    linear: bool = False
    executions: tuple[str, ...] = ("masked", "switched", "pallas")

    @property
    def arrays(self) -> dict[str, Shape]:
        return self.activations | self.weights


def attention(arrays, extents, **options):
    weights = AttentionWeights(*(arrays[k] for k in ("query", "key", "value", "out")))
    sizes = extents["features"], extents["heads"]
    return self_attention(arrays["x"], weights, *sizes, tokens=TOKENS, **options)


bidirectional = functools.partial(attention, causal=False, rotary_base=None)


def network(arrays, extents):
    weights = FeedForwardWeights(arrays["up"], arrays["down"], arrays.get("gate"))
    return feed_forward(arrays["x"], weights, extents["features"], extents["units"])


def layer_of_attention(arrays, extents):
    norm = Call(LayerNorm(), (extents["features"],), (arrays["scale"], arrays["bias"]))
    weights = AttentionWeights(*(arrays[k] for k in ("query", "key", "value", "out")))
    sizes = extents["features"], extents["heads"]
    inner = attention_call(weights, *sizes, tokens=TOKENS)
    return run(residual(norm, inner), arrays["x"])


def layer_of_units(arrays, extents):
    norm = Call(RmsNorm(), (extents["features"],), arrays["scale"])
    weights = FeedForwardWeights(*(arrays[k] for k in ("up", "down", "gate")))
    inner = Call(FeedForward(), (extents["features"], extents["units"]), weights)
    return run(residual(norm, inner), arrays["x"])


SCHEME = ActivationScheme(widths=(3, 5))
BITS = {3: 3, 4: 16, 6: 5}
"""Of what is multiplied, for each size of the features: as if one choice were both."""


def roundings(arrays, extents, *features):
    bits = resized(extents["features"], BITS.__getitem__)
    scales = 0.3 * jnp.exp(arrays["log_scales"])[:, :, None, None]
    return [
        rounding(bits, Quantizers(scale), SCHEME, features=count)
        for scale, count in zip(scales, features, strict=True)
    ]


def rounded_layer_of_attention(arrays, extents):
    norm = Call(RmsNorm(), (extents["features"],), arrays["scale"])
    weights = AttentionWeights(
        *(arrays[k] for k in ("query", "key", "value", "out")),
        *roundings(arrays, extents, SIZES["features"][-1], 4 * HEAD_DIM),
    )
    sizes = extents["features"], extents["heads"]
    inner = attention_call(weights, *sizes, tokens=TOKENS)
    return run(residual(norm, inner), arrays["x"])


def rounded_network(arrays, extents):
    weights = FeedForwardWeights(
        *(arrays[k] for k in ("up", "down", "gate")),
        *roundings(arrays, extents, SIZES["features"][-1], SIZES["units"][-1]),
    )
    return feed_forward(arrays["x"], weights, extents["features"], extents["units"])


def attention_weights(kv_heads):
    into, out_of = ("features", kv_heads, HEAD_DIM), ("heads", HEAD_DIM, "features")
    query = ("features", "heads", HEAD_DIM)
    return {"query": query, "key": into, "value": into, "out": out_of}


FEATURES, UNITS = (ROWS, "features"), ("features", "units")
PLAIN = {"up": UNITS, "down": ("units", "features")}

OPERATIONS = [
    Operation(
        "restrict",
        ("features", 3),
        {"w": ("features", 3)},
        lambda a, e: restrict(a["w"], e["features"], axis=0),
        linear=True,
    ),
    Operation(
        "matmul",
        (ROWS, "units"),
        {"w": UNITS},
        lambda a, e: matmul(a["x"], a["w"], e["features"], e["units"]),
        {"x": FEATURES},
        linear=True,
    ),
    Operation(
        "add_bias",
        FEATURES,
        {"b": ("features",)},
        lambda a, e: add_bias(a["x"], a["b"], e["features"]),
        {"x": FEATURES},
        linear=True,
    ),
    Operation(
        "embed",
        FEATURES,
        {"table": (VOCABULARY, "features")},
        lambda a, e: embed(IDS, a["table"], e["features"]),
        linear=True,
    ),
    Operation(
        "attend",
        (ROWS, VOCABULARY),
        {"table": (VOCABULARY, "features")},
        lambda a, e: attend(a["x"], a["table"], e["features"]),
        {"x": FEATURES},
        linear=True,
    ),
    Operation(
        "rms_norm",
        FEATURES,
        {"scale": ("features",)},
        lambda a, e: rms_norm(a["x"], a["scale"], e["features"]),
        {"x": FEATURES},
    ),
    Operation(
        "layer_norm",
        FEATURES,
        {"scale": ("features",), "bias": ("features",)},
        lambda a, e: layer_norm(a["x"], a["scale"], a["bias"], e["features"]),
        {"x": FEATURES},
    ),
    Operation(
        "held_rms_norm",
        FEATURES,
        {"scale": ("features",)},
        lambda a, e: run(Call(HeldRmsNorm(), (e["features"],), a["scale"]), a["x"]),
        {"x": FEATURES},
    ),
    Operation(
        "skipped_norm",
        (ROWS, "units"),
        {"scale": ("units",), "bias": ("units",)},
        lambda a, e: (
            layer_norm(a["x"], a["scale"], a["bias"], e["units"])
            + rms_norm(a["x"], a["scale"], e["units"])
        ),
        {"x": (ROWS, "units")},
    ),
    Operation("feed_forward", FEATURES, PLAIN, network, {"x": FEATURES}),
    Operation(
        "gated_feed_forward",
        FEATURES,
        PLAIN | {"gate": UNITS},
        network,
        {"x": FEATURES},
    ),
    Operation(
        "bidirectional_attention",
        FEATURES,
        attention_weights("heads"),
        bidirectional,
        {"x": FEATURES},
    ),
    Operation(
        "grouped_query_attention",
        FEATURES,
        attention_weights("kv_heads"),
        attention,
        {"x": FEATURES},
    ),
    Operation(
        "residual_feed_forward",
        FEATURES,
        PLAIN | {"gate": UNITS, "scale": ("features",)},
        layer_of_units,
        {"x": FEATURES},
    ),
    Operation(
        "residual_attention",
        FEATURES,
        attention_weights("kv_heads") | {"scale": ("features",), "bias": ("features",)},
        layer_of_attention,
        {"x": FEATURES},
    ),
    Operation(
        "rounded_feed_forward",
        FEATURES,
        PLAIN | {"gate": UNITS, "log_scales": (2, 2)},
        rounded_network,
        {"x": FEATURES},
        executions=("masked", "switched"),
    ),
    Operation(
        "rounded_residual_attention",
        FEATURES,
        attention_weights("kv_heads") | {"scale": ("features",), "log_scales": (2, 2)},
        rounded_layer_of_attention,
        {"x": FEATURES},
        executions=("masked", "switched"),
    ),
]

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)


COMPOSED = ("residual", "bidirectional")


def marks(operation, execution):
    """Marks what the default suite has no time to compile."""
    is_long = execution == "pallas" or operation.name.startswith("rounded")
    # Most of it is another operation of the suite.
    is_twice = execution == "switched" and operation.name.startswith(COMPOSED)
    return [pytest.mark.slow] if is_long or is_twice else []


each_execution = pytest.mark.parametrize(
    ("operation", "execution"),
    [
        pytest.param(each, way, marks=marks(each, way), id=f"{way}-{each.name}")
        for each in OPERATIONS
        for way in each.executions
    ],
    indirect=["execution"],
)
each_subnet = given(
    st.fixed_dictionaries(
        {n: st.integers(0, len(SIZES[n]) - 1) for n in ("features", "units", "heads")}
    ),
    st.integers(0, 99),
)


@pytest.fixture(scope="module")
def execution(request):
    """An execution; kernels are interpreted, for want of a compiler for the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "pallas":
            patch.setenv(tiles.INTERPRET, "1")
        yield request.param


def full(shape: Shape) -> tuple[int, ...]:
    return tuple(SIZES[n][-1] if isinstance(n, str) else n for n in shape)


def active(shape: Shape, indices: Indices) -> tuple[slice, ...]:
    """Where the active part of an array lies."""
    indices = indices | {"kv_heads": indices["heads"]}
    sizes = [SIZES[n][indices[n]] if isinstance(n, str) else n for n in shape]
    return tuple(slice(size) for size in sizes)


def arrays_of(
    operation: Operation, indices: Indices, seed: int
) -> dict[str, np.ndarray]:
    """Random full arrays; activations are zero where they are inactive."""
    draw = whole if operation.linear else normal
    arrays = {
        name: draw(full(shape), [seed, row])
        for row, (name, shape) in enumerate(operation.arrays.items())
    }
    for name, shape in operation.activations.items():
        arrays[name] = outside(arrays[name], active(shape, indices), 0.0)
    return arrays


def outside(array, where: tuple[slice, ...], fill) -> np.ndarray:
    """The array with other values where it is inactive."""
    filled = np.resize(np.asarray(fill, array.dtype), array.shape)
    filled[where] = array[where]
    return filled


def indexed(indices: Indices, execution="masked") -> dict[str, Extent]:
    """Traced extents; those of a mask are the default, as the others' reference."""
    return {n: Indexed(jnp.asarray(i), SIZES[n], execution) for n, i in indices.items()}


def one_hot(indices: Indices) -> dict[str, Extent]:
    rows = {n: np.eye(len(SIZES[n]), dtype=np.float32)[i] for n, i in indices.items()}
    return {n: Mixed(jnp.asarray(row), SIZES[n]) for n, row in rows.items()}


@functools.cache
def traced(operation: Operation):
    """The compiled operation on traced extents: output, gradients; and its traces."""
    traces = []

    def total(arrays, cotangent, extents):
        output = operation.run(arrays, extents)
        return jnp.sum(output * cotangent), output

    def run(arrays, cotangent, extents):
        traces.append(extents)
        gradients, output = jax.grad(total, has_aux=True)(arrays, cotangent, extents)
        return output, gradients

    return quick_jit(run), quick_jit(jax.vmap(run)), traces


@functools.cache
def sliced(operation: Operation, sizes: tuple[tuple[str, int], ...]):
    """The compiled operation on static extents, from and to full arrays."""
    indices = dict(sizes)
    extents = {n: Fixed(SIZES[n][i]) for n, i in indices.items()}

    def total(arrays, cotangent):
        taken = {n: arrays[n][active(s, indices)] for n, s in shapes.items()}
        output = operation.run(arrays | taken, extents)
        where = active(operation.output, indices)
        padded = jnp.zeros_like(cotangent).at[where].set(output)
        return jnp.sum(padded * cotangent), padded

    def run(arrays, cotangent):
        gradients, output = jax.grad(total, has_aux=True)(arrays, cotangent)
        return output, gradients

    shapes = operation.activations
    return quick_jit(run)


def cotangent_of(operation: Operation, seed: int) -> np.ndarray:
    draw = whole if operation.linear else normal
    return draw(full(operation.output), [seed, len(operation.arrays)])


@each_execution
@settings(max_examples=6)
@each_subnet
def test_traced_sizes_compute_what_slices_do(operation, execution, indices, seed):
    arrays = arrays_of(operation, indices, seed)
    cotangent = cotangent_of(operation, seed)
    run, _, _ = traced(operation)
    output, gradients = run(arrays, cotangent, indexed(indices, execution))
    expected = sliced(operation, tuple(indices.items()))(arrays, cotangent)
    compare = assert_equal if operation.linear else assert_close
    # Only what made an activation can tell that it is inactive: not this gradient.
    for name, shape in operation.activations.items():
        where = active(shape, indices)
        gradients[name] = outside(np.asarray(gradients[name]), where, 0.0)
    compare((output, gradients), expected)
    for name, shape in operation.weights.items():
        gradient = np.asarray(gradients[name])
        assert_equal(gradient, outside(gradient, active(shape, indices), 0.0))


@each_operation
@settings(max_examples=10)
@each_subnet
def test_a_one_hot_mixture_is_the_chosen_subnet(operation, indices, seed):
    arrays = arrays_of(operation, indices, seed)
    cotangent = cotangent_of(operation, seed)
    run, _, _ = traced(operation)
    expected = run(arrays, cotangent, indexed(indices))
    compare = assert_equal if operation.linear else assert_close
    compare(run(arrays, cotangent, one_hot(indices)), expected)


@each_execution
@settings(max_examples=6)
@each_subnet
def test_nothing_leaks_from_inactive_weights(operation, execution, indices, seed):
    arrays = arrays_of(operation, indices, seed)
    cotangent = cotangent_of(operation, seed)
    run, _, _ = traced(operation)
    poisoned = dict(arrays)
    for name, shape in operation.weights.items():
        where = active(shape, indices)
        poisoned[name] = outside(arrays[name], where, [np.nan, np.inf, -np.inf])
    output, gradients = run(poisoned, cotangent, indexed(indices, execution))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert_equal(
        (output, gradients), run(arrays, cotangent, indexed(indices, execution))
    )


@each_execution
def test_one_program_serves_all_subnets_and_maps_over_them(operation, execution):
    rng = np.random.default_rng(0)
    population = [
        {
            name: int(rng.integers(len(SIZES[name])))
            for name in SIZES
            if name != "kv_heads"
        }
        for _ in range(6)
    ]
    whole_cotangent = cotangent_of(operation, 0)
    # What is inactive has no gradient to hand on: a residual stream would.
    batch = [
        (
            arrays_of(operation, indices, 0),
            outside(whole_cotangent, active(operation.output, indices), 0.0),
            indexed(indices, execution),
        )
        for indices in population
    ]
    run, mapped, traces = traced(operation)
    run(*batch[0])
    traces.clear()
    rows = [run(*each) for each in batch]
    assert not traces
    together, expected = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
        for trees in (batch, rows)
    )
    assert_close(mapped(*together), expected)
