"""The fused network by traced sizes: formulas, gradients, zeros outside, no leaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.pallas import feed_forward_tpu, feed_forward_triton
from kernels.pallas.feed_forward import fusion_refusal, prefix_feed_forward
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.kernels.pallas.reference import (
    INTERPRETED,
    interpreted,
    masked_feed_forward,
    network,
    only,
    only_active,
    pulled_feed_forward,
    pulled_reference,
)

pytestmark = pytest.mark.slow

ROWS, FEATURES, HIDDEN = 18, 35, 40

each_implementation = pytest.mark.parametrize("implementation", INTERPRETED)
each_kind = pytest.mark.parametrize("gated", [False, True])


def check(implementation, features, hidden, *, gated):
    x, cotangent = normal((ROWS, FEATURES), 7), normal((ROWS, FEATURES), 8)
    weights = network(FEATURES, HIDDEN, gated=gated)
    references = pulled_reference(x, weights, features, hidden, cotangent)
    run = pulled_feed_forward(implementation)
    output, x_grad, weights_grad = run(
        only(x, ROWS, features),
        only_active(weights, features, hidden),
        features,
        hidden,
        only(cotangent, ROWS, features),
    )
    results = (output, x_grad, weights_grad)
    assert_close(jax.tree.leaves(results), jax.tree.leaves(references))
    assert_equal(output[:, features:], np.zeros((ROWS, FEATURES - features)))
    assert_equal(x_grad[:, features:], np.zeros((ROWS, FEATURES - features)))
    outside = only(np.zeros((FEATURES, HIDDEN), np.float32), features, hidden) != 0
    for grad in (weights_grad.up, weights_grad.down.T, weights_grad.gate):
        if grad is not None:
            assert not np.asarray(grad)[outside].any()


@each_implementation
@each_kind
@pytest.mark.parametrize(
    ("features", "hidden"), [(35, 40), (32, 32), (17, 9), (1, 1), (0, 9), (9, 0)]
)
def test_values_and_gradients_are_those_of_the_slice_and_zero_outside(
    implementation, gated, features, hidden
):
    check(implementation, features, hidden, gated=gated)


@each_implementation
@settings(max_examples=10)
@given(st.integers(0, FEATURES), st.integers(0, HIDDEN), st.booleans())
def test_any_sizes_are_a_network_by_themselves(implementation, features, hidden, gated):
    check(implementation, features, hidden, gated=gated)


@each_implementation
def test_bfloat16_units_are_summed_and_activated_in_float32(implementation):
    x = jnp.asarray(normal((ROWS, FEATURES), 0), jnp.bfloat16)
    weights = jax.tree.map(
        lambda a: a.astype(jnp.bfloat16), network(FEATURES, HIDDEN, gated=True)
    )
    run = quick_jit(interpreted(prefix_feed_forward, implementation))
    output = run(x, weights, 30, 33)
    assert output.dtype == jnp.bfloat16
    exact, up, gate, down = (
        np.asarray(array, np.float32)
        for array in (x, weights.up, weights.gate, weights.down)
    )
    gates = exact[:, :30] @ gate[:30, :33]
    units = gates / (1 + np.exp(-gates)) * (exact[:, :30] @ up[:30, :33])
    # Two roundings only: of the units, which a matrix unit takes, and of the result.
    rounded = units.astype(jnp.bfloat16).astype(np.float32) @ down[:33, :30]
    difference = np.abs(np.asarray(output[:, :30], np.float32) - rounded)
    assert (difference <= 2.0**-8 * (np.abs(rounded) + 1e-2)).all()


def test_a_population_of_sizes_is_mapped():
    features, hidden = jnp.asarray([0, 17, 20]), jnp.asarray([5, 18, 30])
    x, weights = jnp.asarray(normal((5, 20), 0)), network(20, 30, gated=False)

    def loss(features, hidden):
        apply = interpreted(prefix_feed_forward, "tpu")
        run = jax.value_and_grad(lambda *a: jnp.sum(apply(*a, features, hidden) ** 2))
        return run(x, weights)

    one = quick_jit(loss)
    each = [one(*sizes) for sizes in zip(features, hidden, strict=True)]
    expected = jax.tree.map(lambda *rows: jnp.stack(rows), *each)
    mapped = quick_jit(jax.vmap(loss))(features, hidden)
    assert_close(jax.tree.leaves(mapped), jax.tree.leaves(expected))


def test_more_features_than_registers_hold_are_composed_of_products(monkeypatch):
    monkeypatch.setattr(feed_forward_triton, "MOST_FEATURES", 16)
    reason = fusion_refusal("triton", ROWS, 20, jnp.dtype(jnp.float32))
    assert reason == "the registers hold sums of 16 features, not 20"
    monkeypatch.setattr(feed_forward_triton, "feed_forward", None)
    x, weights = jnp.asarray(normal((ROWS, 20), 0)), network(20, 30, gated=True)
    run = quick_jit(interpreted(prefix_feed_forward, "triton"))
    expected = quick_jit(masked_feed_forward)(x, weights, 17, 21)
    assert_close(run(x, weights, 17, 21), expected)


def test_rows_shrink_until_their_sums_fit_into_fast_memory():
    bfloat16 = jnp.dtype(jnp.bfloat16)
    fitting = feed_forward_tpu.fitting_rows
    assert fitting(4096, 1024, bfloat16) > fitting(4096, 8192, bfloat16) >= 64
    assert feed_forward_tpu.refusal(4096, 1024, bfloat16) is None
    assert "sums do not fit" in feed_forward_tpu.refusal(4096, 2**17, bfloat16)
    assert fusion_refusal("mosaic_gpu", 64, 64, bfloat16) is not None


def test_what_cannot_run_is_refused_with_the_reason():
    x, weights = jnp.ones((4, 6)), network(6, 8, gated=False)
    with pytest.raises(ValueError, match="no compiler for the CPU"):
        prefix_feed_forward(x, weights, 6, 8)
    with pytest.raises(ValueError, match="hidden=9 is not between 0 and"):
        prefix_feed_forward(x, weights, 6, 9, interpret=True)
    with pytest.raises(ValueError, match="features=-1 is not between 0 and"):
        prefix_feed_forward(x, weights, -1, 8, interpret=True)
    with pytest.raises(ValueError, match="differ in type"):
        prefix_feed_forward(x.astype(jnp.bfloat16), weights, 6, 8, interpret=True)
