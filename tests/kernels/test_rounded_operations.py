"""Operations that round what they multiply: as written out, and where they refuse."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import tiles
from kernels.attention import AttentionWeights, attention_call
from kernels.dispatch import run
from kernels.executions import ExecutionError
from kernels.extents import Fixed, Indexed, Mixed
from kernels.feed_forward import FeedForward, FeedForwardWeights
from kernels.normalization import RmsNorm
from kernels.operation import Call
from kernels.pallas.feed_forward import prefix_feed_forward
from kernels.quantization.activations import fake_quantize_activations
from kernels.quantization.quantizers import Quantizers
from kernels.quantization.roundings import rounding
from kernels.quantization.scheme import ActivationScheme
from kernels.residual import residual
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

pytestmark = pytest.mark.slow

TOKENS, ROWS, FEATURES, UNITS, HEAD_DIM = 3, 6, 4, 6, 2
SIZES, SIZE = (0, 2, 4, UNITS), 4
"""Of hidden units or heads, and the one that is active."""

SCHEME, BITS = ActivationScheme(widths=(3, 5)), (3, 5, 16)
X, COTANGENT = (jnp.asarray(normal((ROWS, FEATURES), seed)) for seed in (0, 1))


def drawn(**shapes):
    return {
        name: jnp.asarray(normal(shape, [2, row], 0.5))
        for row, (name, shape) in enumerate(shapes.items())
    }


@dataclasses.dataclass(frozen=True)
class Case:
    """An operation, its weights, and how many activations of each kind it reads."""

    call: Callable
    written_out: Callable
    weights: dict[str, jax.Array]
    reads: dict[str, int]

    def learned(self):
        """Weights, and scales of what they multiply."""
        scales = jnp.asarray([0.4, 0.1])[:, None, None]
        return self.weights, dict.fromkeys(self.reads, scales)

    def fake(self, scales, bits, name, x):
        quantizers, count = Quantizers(scales[name]), self.reads[name]
        return fake_quantize_activations(x, bits, quantizers, SCHEME, features=count)

    def roundings(self, scales, bits):
        return {
            name: rounding(bits, Quantizers(scales[name]), SCHEME, features=count)
            for name, count in self.reads.items()
        }


def network(weights, size):
    weights = FeedForwardWeights(**weights)
    return Call(FeedForward(), (Fixed(FEATURES), size), weights)


def network_written_out(x, weights, read):
    z = read("inputs", x)
    units = z @ weights["up"][:, :SIZE]
    if "gate" in weights:
        units = jax.nn.silu(z @ weights["gate"][:, :SIZE]) * units
    else:
        units = jax.nn.gelu(units)
    return read("hidden", units) @ weights["down"][:SIZE]


def attention(weights, size):
    weights, options = AttentionWeights(**weights), {"causal": False}
    extents = Fixed(FEATURES), size
    return attention_call(weights, *extents, tokens=TOKENS, rotary_base=None, **options)


def attention_written_out(x, weights, read):
    z = read("inputs", x).reshape(-1, TOKENS, FEATURES)
    query, key, value = (
        jnp.einsum("btf,fhd->bthd", z, weights[name])
        for name in ("query", "key", "value")
    )
    # Two query heads share one of keys and values.
    key, value = (jnp.repeat(part, 2, axis=2)[:, :, :SIZE] for part in (key, value))
    scores = jnp.einsum("bqhd,bkhd->bhqk", query[:, :, :SIZE], key) * HEAD_DIM**-0.5
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)
    merged = read("mixed", mixed.reshape(ROWS, SIZE * HEAD_DIM))
    return merged @ weights["output"][:SIZE].reshape(-1, FEATURES)


UP, DOWN = (FEATURES, UNITS), (UNITS, FEATURES)
HEADS, SHARED = (FEATURES, UNITS, HEAD_DIM), (FEATURES, UNITS // 2, HEAD_DIM)
CASES = {
    "plain": Case(
        network,
        network_written_out,
        drawn(up=UP, down=DOWN),
        {"inputs": FEATURES, "hidden": UNITS},
    ),
    "gated": Case(
        network,
        network_written_out,
        drawn(up=UP, down=DOWN, gate=UP),
        {"inputs": FEATURES, "hidden": UNITS},
    ),
    "attention": Case(
        attention,
        attention_written_out,
        drawn(query=HEADS, key=SHARED, value=SHARED, output=(*HEADS[1:], FEATURES)),
        {"inputs": FEATURES, "mixed": UNITS * HEAD_DIM},
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
gated_and_attention = pytest.mark.parametrize("case", list(CASES.values())[1:])


def layer(case, x, learned, bits, size):
    weights, scales = learned
    return run(case.call(weights | case.roundings(scales, bits), size), x)


def in_stream(case, x, learned, bits, size):
    scale, (weights, scales) = learned
    inner = case.call(weights | case.roundings(scales, bits), size)
    return run(residual(Call(RmsNorm(), inner.extents[:1], scale), inner), x)


def written_out(case, x, learned, bits, size):
    assert size.size == SIZE
    weights, scales = learned
    return case.written_out(x, weights, functools.partial(case.fake, scales, bits))


def graded(function, case, x, learned, bits, size):
    """The output, and gradients of x, of what is learned, and of probabilities."""
    return quick_jit(step_of(function, case))(x, learned, bits, size)


def step_of(function, case):
    def step(x, learned, bits, size):
        def apply(x, learned, weights):
            mixed = weights is not None
            extent = dataclasses.replace(bits, weights=weights) if mixed else bits
            return function(case, x, learned, extent, size)

        y, pull = jax.vjp(apply, x, learned, getattr(bits, "weights", None))
        return y, *pull(COTANGENT.astype(y.dtype))

    return step


def sizes_of(size):
    """Each way to say how many units or heads are active."""
    index = SIZES.index(size)
    traced = (Indexed(jnp.asarray(index), SIZES, how) for how in ("masked", "switched"))
    return Fixed(size), *traced, Mixed(jax.nn.one_hot(index, len(SIZES)), SIZES)


@each_case
def test_what_is_multiplied_is_rounded_first(case):
    fixed, masked, switched, _ = sizes_of(SIZE)
    mixed = Mixed(jnp.asarray([0.2, 0.3, 0.5]), BITS)
    for bits, sizes in ((Fixed(5), [fixed]), (mixed, [masked, switched])):
        expected = graded(written_out, case, X, case.learned(), bits, fixed)
        for size in sizes:
            assert_close(graded(layer, case, X, case.learned(), bits, size), expected)


@gated_and_attention
def test_what_is_kept_is_as_without_a_rounding(case):
    switched, learned = sizes_of(SIZE)[2], case.learned()
    # Which is how no rounding at all looks to the operation.
    assert set(case.roundings(learned[1], Fixed(16)).values()) == {None}
    found, expected = (
        graded(layer, case, X, learned, bits, switched)
        for bits in (Indexed(jnp.asarray(2), BITS), Fixed(16))
    )
    assert_close(found, expected)


@gated_and_attention
def test_computing_again_rounds_again(case):
    def again(case, x, learned, bits, size):
        return jax.checkpoint(functools.partial(layer, case))(x, learned, bits, size)

    switched, bits = sizes_of(SIZE)[2], Indexed(jnp.asarray(1), BITS)
    found, expected = (
        graded(function, case, X, case.learned(), bits, switched)
        for function in (again, layer)
    )
    assert_close(found, expected)


@gated_and_attention
def test_halves_of_floats_keep_their_type(case):
    half, given = X.astype(jnp.bfloat16), (case.learned(), Fixed(5))
    for size in sizes_of(SIZE):
        step = step_of(layer, case)
        y, x_grad, grads, _ = jax.eval_shape(step, half, *given, size)
        assert y.dtype == x_grad.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {np.dtype("float32")}
    y, exact = (graded(layer, case, x, *given, Fixed(SIZE))[0] for x in (half, X))
    # Where a number lies between two codes, the next one may be nearer.
    difference = jnp.abs(y.astype(jnp.float32) - exact)
    assert difference.max() < 0.1 * jnp.abs(exact).max()


@gated_and_attention
@pytest.mark.parametrize("how", range(4), ids=["fixed", "masked", "switched", "mixed"])
def test_a_skipped_layer_reads_no_scale_that_diverged(case, how):
    scale = jnp.ones(FEATURES)
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), case.learned())
    skipped, bits = sizes_of(0)[how], Fixed(5)
    y, x_grad, grads, _ = graded(in_stream, case, X, (scale, broken), bits, skipped)
    zeros = jax.tree.map(jnp.zeros_like, (scale, broken))
    assert_equal((y, x_grad, grads), (X, COTANGENT, zeros))


def test_kernels_that_round_nothing_are_refused(monkeypatch):
    monkeypatch.setenv(tiles.INTERPRET, "1")
    size = Indexed(jnp.asarray(1), SIZES, "pallas")
    for case in CASES.values():
        with pytest.raises(ExecutionError, match="not round activations; use 'auto'"):
            layer(case, X, case.learned(), Fixed(3), size)
    weights, scales = CASES["gated"].learned()
    taken = FeedForwardWeights(**weights, **CASES["gated"].roundings(scales, Fixed(3)))
    with pytest.raises(ValueError, match="do not round activations: use kernels"):
        prefix_feed_forward(X, taken, FEATURES, SIZE)
