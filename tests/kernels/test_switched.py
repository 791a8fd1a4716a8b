"""Switched execution: one body runs, under any transformation, and saves for one."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from typing_extensions import override

from kernels.attention import AttentionWeights, self_attention
from kernels.dispatch import run
from kernels.extents import Fixed, Indexed, restrict
from kernels.feed_forward import FeedForwardWeights, feed_forward
from kernels.linear import matmul
from kernels.normalization import layer_norm, rms_norm
from kernels.operation import Call, Operation, prefix
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.variants import mainly

ROWS, FEATURES = 4, 6
UNITS = (0, 2, 3, 5)
WIDTHS = (2, 4, FEATURES)

ORDER = np.asarray([3, 0, 2], np.int32)
"""An index for each entry of a batch."""

BATCH = len(ORDER)

DATA, SUBNETS, WEIGHTS = (None, 0, None), (0, None, None), (None, None, 0)
"""What `jax.vmap` maps of index, x and weights."""

each_nesting = pytest.mark.parametrize(
    ("inner", "outer"),
    [(DATA, SUBNETS), (SUBNETS, DATA)],
    ids=["data inside", "subnets inside"],
)


@dataclasses.dataclass(frozen=True, eq=False)
class Told(Operation):
    """Scales features, and tells what runs when it runs."""

    tell: Callable[[tuple], None]

    @override
    def forward(self, sizes, x, weights):
        self._tells("forward", *sizes)
        return prefix(x, None, *sizes) * prefix(weights, *sizes)[None], None

    @override
    def backward(self, sizes, x, weights, saved, gradient):
        self._tells("backward", *sizes)
        y_grad = prefix(gradient, None, *sizes)
        scale = prefix(weights, *sizes)[None]
        return y_grad * scale, jnp.sum(y_grad * prefix(x, None, *sizes), 0)

    @override
    def masked(self, extents, x, weights):
        self._tells("masked")
        return x * restrict(weights, extents[0], axis=0)[None]

    @override
    def work(self, sizes, x, weights):
        return x.shape[0] * sizes[0]

    def _tells(self, *what):
        jax.debug.callback(functools.partial(self.tell, what))


class Probe:
    """Runs `Told` on traced sizes, and counts what ran."""

    def __init__(self):
        self._ran = []
        self._operation = Told(self._ran.append)
        self.scale = jnp.asarray(normal((UNITS[-1],), 0))
        self.x = jnp.asarray(normal((ROWS, UNITS[-1]), 1))

    def __call__(self, index, x, scale):
        extent = Indexed(index, UNITS, "switched")
        return run(Call(self._operation, (extent,), scale), x)

    def step(self, *operands):
        def total(*operands):
            return jnp.sum(self(*operands) ** 2)

        return jax.value_and_grad(total, (1, 2))(*operands)

    def counts(self, function, *operands):
        """Runs a function once, and tells how often each body ran in it."""
        program = quick_jit(function)
        self._ran.clear()
        jax.block_until_ready(program(*operands))
        jax.effects_barrier()
        return Counter(self._ran)


@pytest.fixture
def probe():
    return Probe()


@pytest.mark.parametrize("index", range(len(UNITS)))
def test_only_the_chosen_body_runs_forward_and_backward(probe, index):
    size, operands = UNITS[index], (jnp.asarray(index), probe.x, probe.scale)
    assert probe.counts(probe, *operands) == {("forward", size): 1}
    both = {("forward", size): 1, ("backward", size): 1}
    assert probe.counts(probe.step, *operands) == both


@pytest.mark.parametrize("ways", [("forward",), ("forward", "backward")])
def test_only_the_chosen_body_runs_in_each_step_of_a_loop(probe, ways):
    def total(x, indices):
        def step(x, index):
            return probe(index, x, probe.scale), None

        return jnp.sum(jax.lax.scan(step, x, indices)[0])

    function = jax.grad(total) if "backward" in ways else total
    expected = {(way, UNITS[i]): 1 for way in ways for i in ORDER}
    assert probe.counts(function, probe.x, ORDER) == expected


def test_only_the_chosen_bodies_run_when_subnets_follow_one_another(probe):
    def one_by_one(indices):
        return jax.lax.map(lambda i: probe.step(i, probe.x, probe.scale), indices)

    ways = ("forward", "backward")
    expected = {(way, UNITS[i]): 1 for way in ways for i in ORDER}
    assert probe.counts(one_by_one, ORDER) == expected


def test_no_body_runs_when_subnets_are_side_by_side(probe):
    mapped = jax.vmap(probe.step, SUBNETS)
    ran = probe.counts(mapped, ORDER, probe.x, probe.scale)
    assert ran.keys() == {("masked",)}


@each_nesting
def test_no_body_runs_when_data_and_subnets_are_side_by_side(probe, inner, outer):
    mapped = jax.vmap(jax.vmap(probe.step, inner), outer)
    ran = probe.counts(mapped, ORDER, batch_of(probe.x), probe.scale)
    assert ran.keys() == {("masked",)}


@pytest.mark.parametrize(("inner", "outer"), [(DATA, None), (DATA, WEIGHTS)])
def test_only_the_chosen_body_runs_when_data_are_side_by_side(probe, inner, outer):
    mapped, scale = jax.vmap(probe.step, inner), probe.scale
    if outer:
        mapped, scale = jax.vmap(mapped, outer), batch_of(scale)
    ran = probe.counts(mapped, jnp.asarray(2), batch_of(probe.x), scale)
    assert ran.keys() == {("forward", UNITS[2]), ("backward", UNITS[2])}


def batch_of(tree):
    """Arrays of a batch, each another multiple of those given."""
    factors = 1.0 + jnp.arange(BATCH, dtype=jnp.float32)
    return jax.tree.map(
        lambda leaf: leaf[None] * factors.reshape(BATCH, *[1] * leaf.ndim), tree
    )


def entry(tree, axis, row):
    """What one entry of a batch is given, which may be the same for all."""
    return tree if axis is None else jax.tree.map(lambda leaf: leaf[row], tree)


def stacked(rows):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def arrays(seed=0):
    shapes = (ROWS, FEATURES), (FEATURES, UNITS[-1]), (UNITS[-1], FEATURES)
    x, up, down = (jnp.asarray(normal(s, [seed, i])) for i, s in enumerate(shapes))
    return x, FeedForwardWeights(up, down, gate=up[::-1])


def network(index, x, weights):
    hidden = Indexed(index, UNITS, "switched")
    return feed_forward(x, weights, Fixed(FEATURES), hidden)


def sliced(index, x, weights):
    """The same by a body of static size."""
    return feed_forward(x, weights, Fixed(FEATURES), Fixed(UNITS[index]))


def stepped(function):
    """Output and gradients of x and weights, by a cotangent unlike in all entries."""

    def total(index, x, weights):
        output = function(index, x, weights)
        cotangent = jnp.sin(jnp.arange(output.size, dtype=jnp.float32))
        return jnp.sum(output * cotangent.reshape(output.shape)), output

    return jax.grad(total, (1, 2), has_aux=True)


@functools.cache
def static_step(index):
    return quick_jit(functools.partial(stepped(sliced), index))


@pytest.mark.parametrize("index", range(len(UNITS)))
def test_values_and_gradients_are_those_of_the_chosen_body(index):
    operands = arrays(index)
    found = quick_jit(stepped(network))(jnp.asarray(index), *operands)
    assert_close(found, static_step(index)(*operands))


@pytest.mark.parametrize("axes", [SUBNETS, (0, 0, None), (0, 0, 0), DATA, (None, 0, 0)])
def test_gradients_map_over_subnets_data_and_weights(axes):
    index = jnp.asarray(ORDER) if axes[0] == 0 else jnp.asarray(2)
    x, weights = (
        part if axis is None else batch_of(part)
        for part, axis in zip(arrays(), axes[1:], strict=True)
    )
    found = quick_jit(jax.vmap(stepped(network), axes))(index, x, weights)
    rows = []
    for row in range(BATCH):
        step = static_step(int(entry(index, axes[0], row)))
        rows.append(step(entry(x, axes[1], row), entry(weights, axes[2], row)))
    assert_close(found, stacked(rows))


@pytest.mark.parametrize("axes", [SUBNETS, DATA])
def test_a_gradient_through_a_map_sums_over_it(axes):
    index = jnp.asarray(ORDER) if axes == SUBNETS else jnp.asarray(2)
    x, weights = arrays()
    x = batch_of(x) if axes == DATA else x

    def looped(_, x, weights):
        picked = ORDER if axes == SUBNETS else [2] * BATCH
        parts = [entry(x, axes[1], row) for row in range(BATCH)]
        return jnp.stack(
            [sliced(i, part, weights) for i, part in zip(picked, parts, strict=True)]
        )

    found = quick_jit(stepped(jax.vmap(network, axes)))(index, x, weights)
    assert_close(found, quick_jit(stepped(looped))(index, x, weights))


@each_nesting
def test_maps_over_data_and_subnets_nest(inner, outer):
    x, weights = arrays()
    x = batch_of(x)
    mapped = quick_jit(jax.vmap(jax.vmap(stepped(network), inner), outer))
    rows, columns = (ORDER, range(BATCH))
    cells = {(i, j): static_step(int(i))(x[j], weights) for i in rows for j in columns}
    if outer == SUBNETS:
        table = [[cells[i, j] for j in columns] for i in rows]
    else:
        table = [[cells[i, j] for i in rows] for j in columns]
    expected = stacked([stacked(line) for line in table])
    assert_close(mapped(jnp.asarray(ORDER), x, weights), expected)


def test_a_loop_over_layers_has_the_gradient_of_its_bodies():
    def scanned(indices, x, weights):
        def layer(x, index):
            return jnp.tanh(x + network(index, x, weights)), None

        return jax.lax.scan(layer, x, indices)[0]

    def unrolled(_, x, weights):
        for index in ORDER:
            x = jnp.tanh(x + sliced(index, x, weights))
        return x

    operands = jnp.asarray(ORDER), *arrays()
    found = quick_jit(stepped(scanned))(*operands)
    assert_close(found, quick_jit(stepped(unrolled))(*operands))


@pytest.mark.parametrize("index", [0, 2])
def test_rows_may_be_sharded_over_devices(index):
    x, weights = arrays()
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("data",))
    by_rows, everywhere = (NamedSharding(mesh, spec) for spec in (P("data"), P()))
    (x_grad, weights_grad), output = quick_jit(stepped(network))(
        jax.device_put(jnp.asarray(index), everywhere),
        jax.device_put(x, by_rows),
        jax.device_put(weights, everywhere),
    )
    assert_close(((x_grad, weights_grad), output), static_step(index)(x, weights))
    for rows in (x_grad, output):
        assert rows.sharding.is_equivalent_to(by_rows, rows.ndim)
    assert weights_grad.up.sharding.is_fully_replicated


def attention_weights():
    shapes = *[(FEATURES, 2, 2)] * 3, (2, 2, FEATURES)
    scale = FEATURES**-0.5
    return AttentionWeights(
        *(jnp.asarray(normal(s, row, scale)) for row, s in enumerate(shapes))
    )


VECTOR = jnp.linspace(0.5, 1.5, FEATURES)

OPERATIONS = {
    "matmul": (lambda x, w, e: matmul(x, w, e, e), jnp.asarray(normal((6, 6), 0))),
    "rms_norm": (rms_norm, VECTOR),
    "layer_norm": (lambda x, w, e: layer_norm(x, *w, e), (VECTOR, VECTOR)),
    "feed_forward": (lambda x, w, e: feed_forward(x, w, e, Fixed(3)), arrays()[1]),
    "self_attention": (
        lambda x, w, e: self_attention(x, w, e, Fixed(2), tokens=2),
        attention_weights(),
    ),
}
"""Operations of elastic features, and weights of them."""

each_operation = pytest.mark.parametrize("name", OPERATIONS)


@each_operation
@pytest.mark.parametrize("index", range(len(WIDTHS)))
def test_a_body_reads_its_prefix_and_pads_with_zeros(name, index):
    (operation, weights), width = OPERATIONS[name], WIDTHS[index]
    x = jnp.asarray(normal((ROWS, FEATURES), 0)).at[:, width:].set(jnp.nan)
    extent = Indexed(jnp.asarray(index), WIDTHS, "switched")
    output = np.asarray(quick_jit(operation)(x, weights, extent))
    assert output[:, :width].all()
    assert_equal(output, np.pad(output[:, :width], ((0, 0), (0, FEATURES - width))))


BFLOAT16_RELATIVE = 2.0**-6
"""A few roundings to eight bits, relative to the largest value of an array."""


@each_operation
@pytest.mark.parametrize("way", mainly("switched", "masked", "fixed"))
def test_narrow_activations_meet_wide_weights(name, way):
    (operation, weights), width = OPERATIONS[name], WIDTHS[1]
    extent = Fixed(width) if way == "fixed" else Indexed(jnp.asarray(1), WIDTHS, way)
    x = jnp.asarray(normal((ROWS, FEATURES), 0))
    x = x[:, :width] if way == "fixed" else x.at[:, width:].set(0.0)
    x, weights, cotangent = jax.tree.map(
        lambda leaf: leaf.astype(jnp.bfloat16),
        (x, weights, jnp.asarray(normal(x.shape, 1))),
    )
    # What is given is the same in both types: they differ by what is computed.
    weights = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), weights)

    @quick_jit
    def step(x, weights):
        output, pull = jax.vjp(lambda x, w: operation(x, w, extent), x, weights)
        return output, *pull(cotangent.astype(output.dtype))

    wide, narrow = step(x.astype(jnp.float32), weights), step(x, weights)
    output, x_grad, weights_grad = narrow
    assert output.dtype == x_grad.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(weights_grad))
    for found, expected in zip(*map(jax.tree.leaves, (narrow, wide)), strict=True):
        error = np.abs(np.asarray(found, np.float32) - expected).max()
        assert error <= BFLOAT16_RELATIVE * np.abs(expected).max()


def test_what_is_saved_does_not_grow_with_the_number_of_bodies():
    x, weights = arrays()

    def saved(choices):
        def network(x, weights):
            extent = Indexed(jnp.asarray(0), choices, "switched")
            return feed_forward(x, weights, Fixed(FEATURES), extent)

        _, pull = jax.vjp(network, x, weights)
        return sum(leaf.nbytes for leaf in jax.tree.leaves(pull))

    units = 2 * ROWS * UNITS[-1]
    numbers = x.size + sum(leaf.size for leaf in jax.tree.leaves(weights)) + units
    assert saved((2, 5)) == saved((0, 1, 2, 3, 4, 5))
    assert saved((2, 5)) <= 4 * (numbers + 1)


def test_nothing_is_saved_where_no_gradient_is_taken():
    text = quick_jit(network).lower(jnp.asarray(1), *arrays()).as_text()
    assert re.findall(r"%\w+(:\d+)? = .stablehlo.case", text) == [""]
