"""Matrix product and bias: exact on whole numbers, for any leading dimensions."""

import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed, Indexed
from kernels.linear import add_bias, matmul
from tests.kernels.comparison import assert_equal, quick_jit, whole


@quick_jit
def affine(x, weight, bias, inputs, outputs):
    return add_bias(matmul(x, weight, inputs, outputs), bias, outputs)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
@pytest.mark.parametrize("inputs", [2, 4])
@pytest.mark.parametrize("outputs", [1, 5])
def test_products_and_biases_use_the_leading_rows_and_columns(leading, inputs, outputs):
    x = np.zeros((*leading, 4), np.float32)
    x[..., :inputs] = whole((*leading, inputs), 0)
    weight, bias = whole((4, 5), 1), whole((5,), 2)
    expected = np.zeros((*leading, 5), np.float32)
    expected[..., :outputs] = x[..., :inputs] @ weight[:inputs, :outputs]
    expected[..., :outputs] += bias[:outputs]
    sliced = affine(x[..., :inputs], weight, bias, Fixed(inputs), Fixed(outputs))
    assert_equal(sliced, expected[..., :outputs])
    rows = Indexed(jnp.asarray((2, 4).index(inputs)), (2, 4))
    columns = Indexed(jnp.asarray((1, 5).index(outputs)), (1, 5))
    assert_equal(affine(x, weight, bias, rows, columns), expected)
