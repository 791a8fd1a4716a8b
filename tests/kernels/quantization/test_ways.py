"""One of several ways to quantise a weight: what it gives, and what learns from it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed, Indexed
from kernels.quantization.bitslice import bitslice, parent_scheme
from kernels.quantization.calibration import min_max_quantizers
from kernels.quantization.fake import fake_quantize
from kernels.quantization.scheme import Scheme
from kernels.quantization.ways import quantize_one_way
from tests.kernels.comparison import assert_close, quick_jit

WIDTHS = (2, 4)
SCHEMES = (
    Scheme(widths=WIDTHS, granularity="tensor"),
    Scheme(widths=WIDTHS, symmetric=False),
    Scheme(widths=WIDTHS, granularity="group", group_size=3),
)
WEIGHT = jax.random.normal(jax.random.key(0), (6, 4)) + 0.3
SLOPE = jax.random.normal(jax.random.key(1), (6, 4))


def ways(*, is_nested):
    schemes = [parent_scheme(s) if is_nested else s for s in SCHEMES]
    return [min_max_quantizers(WEIGHT, scheme) for scheme in schemes], schemes


@pytest.mark.parametrize("is_nested", [False, True])
def test_it_is_the_way_that_is_picked(is_nested):
    quantizers, schemes = ways(is_nested=is_nested)
    alone = bitslice if is_nested else fake_quantize

    def loss(quantizers, weight, which, index):
        bits = Indexed(index, (*WIDTHS, 16))
        found = quantize_one_way(
            weight, bits, which, quantizers, schemes, is_nested=is_nested
        )
        return jnp.sum(found * SLOPE), found

    run = quick_jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    for which, index in ((0, 1), (1, 0), (2, 1), (1, 2)):
        slopes, found = run(quantizers, WEIGHT, jnp.asarray(which), jnp.asarray(index))

        def of_one(quantizers, weight, which=which, index=index):
            bits = Fixed((*WIDTHS, 16)[index])
            found = alone(weight, bits, quantizers, schemes[which])
            return jnp.sum(found * SLOPE), found

        expected, wanted = quick_jit(jax.grad(of_one, argnums=(0, 1), has_aux=True))(
            quantizers[which], WEIGHT
        )
        assert_close(found, wanted)
        assert_close((slopes[0][which], slopes[1]), expected)


def test_what_is_not_picked_may_be_broken_and_learns_nothing():
    quantizers, schemes = ways(is_nested=False)
    broken = [jax.tree.map(lambda leaf: leaf * jnp.nan, each) for each in quantizers]
    broken[2] = quantizers[2]

    def loss(quantizers):
        which, bits = jnp.asarray(2), Indexed(jnp.asarray(0), WIDTHS)
        return jnp.sum(
            quantize_one_way(WEIGHT, bits, which, quantizers, schemes, is_nested=False)
        )

    value, slopes = quick_jit(jax.value_and_grad(loss))(broken)
    assert np.isfinite(value)
    for leaf in jax.tree.leaves(slopes[:2]):
        assert not np.any(leaf)
    assert np.any(slopes[2].scale)


def test_all_ways_have_the_same_widths():
    quantizers, schemes = ways(is_nested=False)
    schemes[1] = dataclasses.replace(schemes[1], widths=(2, 8))
    with pytest.raises(ValueError, match=r"same widths, got \[\(2, 4\), \(2, 8\)"):
        quantize_one_way(
            WEIGHT,
            Fixed(2),
            jnp.asarray(0),
            quantizers,
            schemes,
            is_nested=False,
        )
