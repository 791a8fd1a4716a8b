"""Devices that share units compute what one device does, and share its work evenly."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from kernels.attention import AttentionWeights, attention_call
from kernels.dispatch import recorded, run
from kernels.executions import ExecutionError
from kernels.extents import Fixed, Indexed, Mixed
from kernels.feed_forward import FeedForward, FeedForwardWeights
from kernels.normalization import RmsNorm
from kernels.operation import Call
from kernels.parallel import TENSOR, collected, dealt
from kernels.quantization.roundings import Rounding
from kernels.residual import residual
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

pytestmark = pytest.mark.slow

ROWS, TOKENS, FEATURES, HEAD_DIM = 4, 2, 6, 2
UNITS, HEADS, GROUP = 8, 8, 2
SIZES = {"units": (0, 4, UNITS), "heads": (0, 4, HEADS)}
WIDTHS = (4, FEATURES)


def drawn(*shapes):
    return tuple(jnp.asarray(normal(s, row, 0.5)) for row, s in enumerate(shapes))


FEED_FORWARD = FeedForwardWeights(
    *drawn((FEATURES, UNITS), (UNITS, FEATURES), (FEATURES, UNITS))
)
ATTENTION = AttentionWeights(
    *drawn(
        (FEATURES, HEADS, HEAD_DIM),
        (FEATURES, HEADS // GROUP, HEAD_DIM),
        (FEATURES, HEADS // GROUP, HEAD_DIM),
        (HEADS, HEAD_DIM, FEATURES),
    )
)


def feed_forward_call(weights, features, units):
    return Call(FeedForward(), (features, units), weights)


def plain_call(weights, features, units):
    return feed_forward_call(weights._replace(gate=None), features, units)


def self_attention_call(weights, features, heads):
    return attention_call(weights, features, heads, tokens=TOKENS)


def in_stream(make):
    def call(weights, features, units):
        norm, inner = weights
        return residual(
            Call(RmsNorm(), (features,), norm), make(inner, features, units)
        )

    return call


NORM = drawn((FEATURES,))[0]
ROUNDING = Rounding(
    *(jnp.asarray([few, many]) for few, many in ((0.5, 0.1), (-4.0, -8.0), (3.0, 7.0))),
    share=jnp.asarray([0.3, 0.5]),
    kept=jnp.asarray(0.2),
)
"""Every device has it, and all that it learns is the sum of what they do."""

CASES = {
    "feed-forward": (feed_forward_call, FEED_FORWARD, "units", UNITS),
    "plain": (plain_call, FEED_FORWARD, "units", UNITS),
    "attention": (self_attention_call, ATTENTION, "heads", HEADS // GROUP),
    "feed-forward in a stream": (
        in_stream(feed_forward_call),
        (NORM, FEED_FORWARD),
        "units",
        UNITS,
    ),
    "attention in a stream": (
        in_stream(self_attention_call),
        (NORM, ATTENTION),
        "heads",
        HEADS // GROUP,
    ),
    "rounded feed-forward": (
        feed_forward_call,
        FEED_FORWARD._replace(inputs=ROUNDING, hidden=ROUNDING),
        "units",
        UNITS,
    ),
    "rounded attention in a stream": (
        in_stream(self_attention_call),
        (NORM, ATTENTION._replace(inputs=ROUNDING, mixed=ROUNDING)),
        "heads",
        HEADS // GROUP,
    ),
}
STREAMS = ("feed-forward in a stream", "attention in a stream")
X = jnp.asarray(normal((ROWS, FEATURES), 7))


def mesh_of(data, tensor):
    devices = np.asarray(jax.devices()[: data * tensor]).reshape(data, tensor)
    return Mesh(devices, ("data", TENSOR), axis_types=(AxisType.Auto,) * 2)


def reordered(order, make, weights, units, devices):
    """The weights of a call, units in another order."""
    specs = make(weights, Fixed(1), Fixed(1)).operation.split(weights)

    def reorder(leaf, spec):
        if TENSOR not in spec:
            return leaf
        return order(leaf, spec.index(TENSOR), units=units, devices=devices)

    flat, structure = jax.tree.flatten(weights)
    specs = jax.tree.leaves(specs)
    return jax.tree.unflatten(structure, map(reorder, flat, specs)), specs


def gradients(make, extents_of):
    """Compiles the output, and gradients of a function of it."""

    def function(x, weights, *traced):
        def loss(x, weights):
            y = run(make(weights, *extents_of(*traced)), x)
            return jnp.sum(jnp.sin(y.astype(jnp.float32))), y

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(x, weights)

    return quick_jit(function)


def shared(case, mesh, extents_of):
    """Computes `gradients` on a mesh, in the order of one device."""
    make, _, _, units = CASES[case]
    compiled, devices = gradients(make, extents_of), mesh.shape[TENSOR]

    def compute(x, weights, *traced):
        placed, specs = reordered(dealt, make, weights, units, devices)
        flat, structure = jax.tree.flatten(placed)
        shardings = [NamedSharding(mesh, spec) for spec in specs]
        placed = jax.tree.unflatten(structure, jax.device_put(flat, shardings))
        x = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        with jax.set_mesh(mesh):
            (x_grad, grads), y = compiled(x, placed, *traced)
        grads = jax.tree.map(jnp.asarray, jax.device_get(grads))
        grads, _ = reordered(collected, make, grads, units, devices)
        return jax.device_get(((x_grad, grads), y))

    return compute


def on_width(width, computed):
    """Without what is beside the active features, which nobody reads."""
    (x_grad, grads), y = jax.device_get(computed)
    return x_grad[:, :width], grads, y[:, :width]


@pytest.mark.parametrize(
    ("case", "how", "devices"),
    [
        ("feed-forward", "switched", 4),
        ("plain", "masked", 2),
        ("attention", "switched", 2),
        *itertools.product(STREAMS, ["switched"], [2]),
        ("rounded feed-forward", "masked", 2),
        ("rounded attention in a stream", "switched", 2),
        *(pytest.param(case, "masked", 2, marks=pytest.mark.long) for case in STREAMS),
    ],
)
def test_devices_that_share_units_compute_what_one_does(case, how, devices):
    make, weights, name, _ = CASES[case]

    def extents_of(width, size):
        return Indexed(width, WIDTHS, how), Indexed(size, SIZES[name], how)

    alone = gradients(make, extents_of)
    together = shared(case, mesh_of(4 // devices, devices), extents_of)
    for width, size in ((0, 1), (1, 0), (1, 2)):
        traced = np.int32(width), np.int32(size)
        x = X.at[:, WIDTHS[width] :].set(0)
        both = alone(x, weights, *traced), together(x, weights, *traced)
        expected, got = map(functools.partial(on_width, WIDTHS[width]), both)
        assert_close(got, expected)


@pytest.mark.parametrize("case", STREAMS)
@pytest.mark.parametrize("size", [0, 4])
def test_fixed_sizes_are_shared_and_skipped_ones_are_not(case, size):
    make, weights, *_ = CASES[case]
    x = X[:, : WIDTHS[0]]

    def extents_of():
        return Fixed(WIDTHS[0]), Fixed(size)

    expected = jax.device_get(gradients(make, extents_of)(x, weights))
    assert_close(shared(case, mesh_of(1, 2), extents_of)(x, weights), expected)


def test_halves_of_floats_are_summed_as_whole_ones():
    make, weights, *_ = CASES["feed-forward in a stream"]
    x, weights = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (X, weights))

    def extents_of():
        return Fixed(FEATURES), Fixed(UNITS)

    got = shared("feed-forward in a stream", mesh_of(2, 2), extents_of)(x, weights)
    (x_grad, _), y = gradients(make, extents_of)(x, weights)
    for one, several in ((x_grad, got[0][0]), (y, got[1])):
        assert several.dtype == jnp.bfloat16
        difference = one.astype(jnp.float32) - several.astype(np.float32)
        assert float(jnp.abs(difference).max()) < 0.03 * float(jnp.abs(one).max())


def test_mixtures_are_shared_with_their_gradients():
    make, weights, name, units = CASES["feed-forward"]

    def function(mixture, x, weights):
        extents = Fixed(FEATURES), Mixed(mixture, SIZES[name])
        return jnp.sum(jnp.sin(run(make(weights, *extents), x)))

    mixture = jnp.asarray([0.2, 0.3, 0.5], jnp.float32)
    expected = quick_jit(jax.grad(function))(mixture, X, weights)
    placed, _ = reordered(dealt, make, weights, units, 2)
    with jax.set_mesh(mesh_of(1, 2)):
        got = quick_jit(jax.grad(function))(mixture, X, placed)
    assert_close(got, expected)


def test_every_device_has_an_equal_part_of_a_small_subnet():
    make, weights, _, units = CASES["feed-forward"]
    small = SIZES["units"][1]
    hidden = np.asarray(dealt(jnp.arange(units), 0, units=units, devices=2))
    parts = hidden.reshape(2, -1)
    assert_equal((parts < small).sum(1), [small // 2] * 2)

    def flops(mesh):
        def function(x, weights):
            return run(make(weights, Fixed(FEATURES), Fixed(small)), x)

        placed, specs = reordered(dealt, make, weights, units, mesh.size)
        shardings = [NamedSharding(mesh, spec) for spec in specs]
        shardings = jax.tree.unflatten(jax.tree.structure(placed), shardings)
        compiled = quick_jit(function, in_shardings=(None, shardings))
        with jax.set_mesh(mesh):
            costs = compiled.lower(X, placed).compile().cost_analysis()
        return costs["flops"]

    assert flops(mesh_of(1, 2)) < 0.6 * flops(mesh_of(1, 1))


def test_dealing_is_undone_by_collecting():
    array = jnp.arange(2 * 12 * 3).reshape(2, 12, 3)
    cards = dealt(array, 1, units=6, devices=3)
    # Units are pairs of rows: the first device holds the first and the fourth.
    assert_equal(cards[:, :4], np.asarray(array)[:, [0, 1, 6, 7]])
    assert_equal(collected(cards, 1, units=6, devices=3), array)


def test_one_sum_follows_all_bodies_of_a_switch():
    make, weights, name, _ = CASES["feed-forward in a stream"]

    def function(x, weights, size):
        extents = Fixed(FEATURES), Indexed(size, SIZES[name], "switched")
        return run(make(weights, *extents), x)

    with jax.set_mesh(mesh_of(1, 2)), recorded() as made:
        traced = jax.make_jaxpr(function)(X, weights, np.int32(0))
    assert [decision.execution for decision in made] == ["switched"]
    assert str(traced).count("psum") == 1


def test_kernels_of_one_device_are_refused_on_several():
    make, weights, name, _ = CASES["feed-forward"]
    extents = Fixed(FEATURES), Indexed(jnp.int32(0), SIZES[name], "pallas")
    with (
        jax.set_mesh(mesh_of(2, 1)),
        pytest.raises(ExecutionError, match="run on one device, and the mesh has 2"),
    ):
        run(make(weights, *extents), X)
