"""Which widths an extent reads, and widths that have no quantiser."""

import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed, Indexed, Mixed
from kernels.quantization.fake import fake_quantize
from kernels.quantization.widths import used_rows
from tests.kernels.comparison import assert_equal
from tests.kernels.quantization.cases import (
    CHOICES,
    SCHEMES,
    indexed,
    kinds,
    learned,
)

WIDTHS = (2, 3, 4, 8)


@pytest.mark.parametrize("bits", CHOICES)
def test_a_width_reads_its_own_row(bits):
    for extent in kinds(bits):
        assert_equal(used_rows(extent, WIDTHS), [width == bits for width in WIDTHS])


def test_a_mixture_reads_the_rows_that_it_mixes():
    extent = Mixed(jnp.asarray([0.5, 0.0, 0.2, 0.3]), CHOICES)
    assert used_rows(extent, WIDTHS).tolist() == [True, False, False, True]


def test_an_axis_of_floats_rounds_weights_to_bfloat16():
    weight, quantizers = learned(SCHEMES["channel"])
    stored = weight.astype(jnp.bfloat16).astype(weight.dtype)
    assert not np.array_equal(stored, weight)
    for extent in (Fixed(16), Indexed(jnp.asarray(0), (16, 32))):
        found = fake_quantize(weight, extent, quantizers, SCHEMES["channel"])
        assert np.array_equal(found, stored)


@pytest.mark.parametrize("extent", [Fixed(5), indexed(2, (2, 5)), Fixed(12), Fixed(0)])
def test_a_width_that_has_no_scale_is_refused(extent):
    weight, quantizers = learned(SCHEMES["channel"])
    with pytest.raises(ValueError, match="there is no scale for"):
        fake_quantize(weight, extent, quantizers, SCHEMES["channel"])
