"""Blocks of a product, and how many of them are active."""

import jax.numpy as jnp
import pytest

from kernels.pallas.boxes import Blocks, inner_steps, product_shape

BLOCKS = Blocks(rows=8, inner=16, columns=8)


def test_blocks_are_no_larger_than_a_product():
    assert BLOCKS.within((5, 16, 40)) == Blocks(rows=5, inner=16, columns=8)


@pytest.mark.parametrize(
    ("inner", "steps"), [(0, 0), (1, 1), (16, 1), (17, 2), (48, 3)]
)
def test_a_tile_takes_as_many_steps_as_inner_tiles_are_active(inner, steps):
    sizes = jnp.asarray([9, inner, 3])

    def count(row, column):
        return inner_steps(jnp.asarray(row), jnp.asarray(column), sizes, BLOCKS)

    assert count(0, 0) == count(8, 0) == steps
    assert count(16, 0) == count(0, 8) == 0


def test_the_summed_axes_must_agree():
    x, weight = jnp.ones((2, 3)), jnp.ones((4, 3))
    assert product_shape(x, weight, (1, 1)) == (2, 3, 4)
    with pytest.raises(ValueError, match=r"axis 1 of \(2, 3\) is not axis 0 of"):
        product_shape(x, weight, (1, 0))
