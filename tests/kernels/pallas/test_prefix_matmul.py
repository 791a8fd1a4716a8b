"""The product by traced sizes: exact, zero outside, and deaf to what is inactive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.pallas.prefix_matmul import prefix_matmul
from tests.kernels.comparison import (
    assert_close,
    assert_equal,
    normal,
    quick_jit,
    whole,
)
from tests.kernels.pallas.reference import (
    INTERPRETED,
    arrays,
    interpreted,
    only,
    padded,
    pulled_matmul,
)

pytestmark = pytest.mark.slow

ROWS, INPUTS, OUTPUTS = 20, 40, 50

each_implementation = pytest.mark.parametrize("implementation", INTERPRETED)


def check(implementation, inputs, outputs, seed=0):
    x, weight = whole((ROWS, INPUTS), seed), whole((INPUTS, OUTPUTS), seed + 1)
    cotangent = whole((ROWS, OUTPUTS), seed + 2)
    run = pulled_matmul(implementation)
    value, x_grad, weight_grad = run(
        only(x, ROWS, inputs),
        only(weight, inputs, outputs),
        inputs,
        outputs,
        only(cotangent, ROWS, outputs),
    )
    x, weight = x[:, :inputs], weight[:inputs, :outputs]
    cotangent = cotangent[:, :outputs]
    assert_equal(value, padded(x @ weight, (ROWS, OUTPUTS)))
    assert_equal(x_grad, padded(cotangent @ weight.T, (ROWS, INPUTS)))
    assert_equal(weight_grad, padded(x.T @ cotangent, (INPUTS, OUTPUTS)))


@each_implementation
@pytest.mark.parametrize(
    ("inputs", "outputs"), [(40, 50), (32, 48), (17, 33), (1, 1), (0, 9), (9, 0)]
)
def test_values_and_gradients_are_those_of_the_slice_and_zero_outside(
    implementation, inputs, outputs
):
    check(implementation, inputs, outputs)


@each_implementation
@settings(max_examples=20)
@given(st.integers(0, INPUTS), st.integers(0, OUTPUTS), st.integers(0, 9))
def test_any_sizes_are_exact_on_whole_numbers(implementation, inputs, outputs, seed):
    check(implementation, inputs, outputs, seed)


@each_implementation
def test_one_program_serves_all_sizes(implementation):
    traces = []

    def run(x, weight, inputs, outputs):
        traces.append(inputs)
        return interpreted(prefix_matmul, implementation)(x, weight, inputs, outputs)

    compiled = quick_jit(run)
    x, weight = whole((16, 32), 0), whole((32, 32), 1)
    for size in (0, 5, 16, 32):
        expected = padded(x[:, :size] @ weight[:size, :size], (16, 32))
        assert_equal(compiled(x, weight, jnp.asarray(size), size), expected)
    assert len(traces) == 1


@each_implementation
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (18, 33, 17)])
def test_full_sizes_need_not_be_multiples_of_a_tile(implementation, shape):
    rows, inputs, outputs = shape
    x, weight = whole((rows, inputs), 0), whole((inputs, outputs), 1)
    multiply = interpreted(prefix_matmul, implementation)
    assert_equal(quick_jit(multiply)(x, weight, inputs, outputs), x @ weight)


@pytest.mark.parametrize("implementation", INTERPRETED)
def test_default_tiles_are_cut_to_the_product(implementation):
    x, weight = arrays(whole((5, 6), 0), whole((6, 7), 1))
    product = prefix_matmul(
        x, weight, 4, 7, implementation=implementation, interpret=True
    )
    assert_equal(product, x[:, :4] @ weight[:4])


@each_implementation
def test_sizes_beyond_the_full_size_are_clipped(implementation):
    x, weight = whole((16, 20), 0), whole((20, 16), 1)
    run = quick_jit(interpreted(prefix_matmul, implementation))
    assert_equal(run(x, weight, jnp.asarray(99), jnp.asarray(99)), x @ weight)
    assert_equal(run(x, weight, jnp.asarray(-3), jnp.asarray(9)), np.zeros((16, 16)))


@each_implementation
def test_bfloat16_is_summed_in_float32(implementation):
    # In bfloat16, adding a tile that sums to 0.5 to 256 would leave 256.
    x = np.full((1, 64), 1 / 32, np.float32)
    x[:, :16] = 16.0
    weight = jnp.ones((64, 1), jnp.bfloat16)
    product = interpreted(prefix_matmul, implementation)(
        jnp.asarray(x, jnp.bfloat16), weight, 64, 1
    )
    assert product.dtype == jnp.bfloat16
    assert_equal(product.astype(jnp.float32), np.full((1, 1), 258.0, np.float32))


@each_implementation
def test_bfloat16_gradients_keep_their_type_and_are_summed_in_float32(implementation):
    x, weight = whole((ROWS, INPUTS), 0), whole((INPUTS, OUTPUTS), 1)
    cotangent = whole((ROWS, OUTPUTS), 2)
    exact = pulled_matmul(implementation)(x, weight, 30, 20, cotangent)
    x, weight, cotangent = (
        jnp.asarray(array, jnp.bfloat16) for array in (x, weight, cotangent)
    )
    rounded = pulled_matmul(implementation)(x, weight, 30, 20, cotangent)
    # Sums of whole numbers are exact in float32, so only the result was rounded.
    assert_equal(rounded, tuple(array.astype(jnp.bfloat16) for array in exact))


@each_implementation
def test_a_population_of_sizes_is_mapped(implementation):
    inputs, outputs = jnp.asarray([0, 17, 32]), jnp.asarray([5, 30, 20])
    x, weight = jnp.asarray(normal((18, 32), 0)), jnp.asarray(normal((32, 30), 1))

    def loss(x, weight, inputs, outputs):
        multiply = interpreted(prefix_matmul, implementation)
        return jnp.sum(multiply(x, weight, inputs, outputs) ** 2)

    run = jax.value_and_grad(loss, (0, 1))
    mapped = quick_jit(jax.vmap(run, (None, None, 0, 0)))(x, weight, inputs, outputs)
    one = quick_jit(run)
    each = [one(x, weight, *sizes) for sizes in zip(inputs, outputs, strict=True)]
    assert_close(mapped, jax.tree.map(lambda *rows: jnp.stack(rows), *each))


def test_what_cannot_run_is_refused_with_the_reason():
    x, weight = jnp.ones((4, 6)), jnp.ones((6, 5))
    with pytest.raises(ValueError, match="no compiler for the CPU"):
        prefix_matmul(x, weight, 6, 5)
    with pytest.raises(ValueError, match="inputs=7 is not between 0 and"):
        prefix_matmul(x, weight, 7, 5, interpret=True)
    with pytest.raises(ValueError, match="outputs=-1 is not between 0 and"):
        prefix_matmul(x, weight, 6, -1, interpret=True)
    with pytest.raises(ValueError, match="cast one"):
        prefix_matmul(x, weight.astype(jnp.bfloat16), 6, 5, interpret=True)
    with pytest.raises(ValueError, match="not float16"):
        prefix_matmul(
            *(a.astype(jnp.float16) for a in (x, weight)), 6, 5, interpret=True
        )
    with pytest.raises(ValueError, match="force_gpu_interpret_mode"):
        prefix_matmul(x, weight, 6, 5, implementation="mosaic_gpu", interpret=True)
    with pytest.raises(ValueError, match="wgmma would round float32"):
        prefix_matmul(x, weight, 6, 5, implementation="mosaic_gpu")
