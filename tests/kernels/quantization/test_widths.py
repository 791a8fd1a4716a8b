"""Which widths an extent reads, and widths that have no quantiser."""

import jax.numpy as jnp
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


def test_an_axis_of_floats_leaves_the_weight_alone():
    weight, quantizers = learned(SCHEMES["channel"])
    for extent in (Fixed(32), Indexed(jnp.asarray(0), (16, 32))):
        assert fake_quantize(weight, extent, quantizers, SCHEMES["channel"]) is weight


@pytest.mark.parametrize("extent", [Fixed(5), indexed(2, (2, 5)), Fixed(12), Fixed(0)])
def test_a_width_that_has_no_scale_is_refused(extent):
    weight, quantizers = learned(SCHEMES["channel"])
    with pytest.raises(ValueError, match="there is no scale for"):
        fake_quantize(weight, extent, quantizers, SCHEMES["channel"])
