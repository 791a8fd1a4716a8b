"""The first scales: closed form, search, and what has no range."""

import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed
from kernels.quantization.calibration import (
    EXPONENT,
    activation_scheme,
    min_max_quantizers,
    searched_quantizers,
)
from kernels.quantization.fake import fake_quantize
from kernels.quantization.quantizers import Quantizers
from kernels.quantization.scheme import Scheme
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.kernels.quantization.cases import SCHEMES, weight_of

every_scheme = pytest.mark.parametrize("name", SCHEMES)
fake = quick_jit(fake_quantize, static_argnums=3)


def blocks(weight, scheme):
    """Entries that share a scale, on the middle axis."""
    groups, channels = scheme.scale_shape(*weight.shape)
    return np.asarray(weight).reshape(groups, -1, channels)


@every_scheme
def test_the_closed_form_spans_the_range(name):
    scheme, weight = SCHEMES[name], weight_of()
    scale, zero_point = min_max_quantizers(weight, scheme)
    entries = blocks(weight, scheme)
    low, high = np.minimum(entries.min(1), 0), np.maximum(entries.max(1), 0)
    if scheme.symmetric:
        high = np.maximum(high, -low)
        low = -high
    for row, bits in enumerate(scheme.widths):
        assert_close(scale[row], (high - low) / (2**bits - 1))
        if not scheme.symmetric:
            zero = np.round(-(2 ** (bits - 1)) - low / np.asarray(scale[row]))
            assert np.abs(zero_point[row] - zero).max() <= 1
            assert (np.abs(zero_point[row] + 0.5) < 2 ** (bits - 1)).all()


@every_scheme
def test_the_search_finds_the_best_of_eighty_scales(name):
    scheme, weight = SCHEMES[name], weight_of()
    widest, found = (
        search(weight, scheme) for search in (min_max_quantizers, searched_quantizers)
    )

    def error(scale, bits):
        quantizers = Quantizers(scale, widest.zero_point)
        off = fake(weight, Fixed(bits), quantizers, scheme) - weight
        return (np.abs(blocks(off, scheme)) ** EXPONENT).sum(1)

    for row, bits in [(0, 2), (2, 4)]:
        tried = [error(widest.scale * (k / 80), bits) for k in range(1, 81)]
        best = np.min(tried, axis=0)
        assert np.allclose(error(found.scale, bits), best, rtol=1e-4)
        factors = np.asarray(found.scale[row] / widest.scale[row]) * 80
        assert np.allclose(factors, factors.round(), atol=1e-3)


def test_the_search_cuts_off_an_outlier():
    weight = jnp.asarray(normal((1000, 1), 0)).at[0].set(9.0)
    scheme = Scheme(widths=(4,))
    widest, found = (
        search(weight, scheme).scale.item()
        for search in (min_max_quantizers, searched_quantizers)
    )
    assert found < 0.8 * widest


def test_what_is_all_zero_takes_the_largest_scale_of_the_others():
    weight = weight_of((4, 3)).at[:, 1].set(0.0)
    for search in (min_max_quantizers, searched_quantizers):
        scale = search(weight, Scheme(widths=(4,))).scale[0, 0]
        assert scale[1] > 0
        scale = search(jnp.zeros((4, 3)), Scheme(widths=(4,))).scale
        assert_close(scale, np.full((1, 1, 3), 1 / 15))
    widest = min_max_quantizers(weight, Scheme(widths=(4,))).scale[0, 0]
    assert_equal(widest[1], widest.max())


@pytest.mark.parametrize("low", [0.0, 1.5])
@pytest.mark.parametrize("symmetric", [True, False])
def test_activations_are_unsigned_where_none_is_negative(low, symmetric):
    samples = jnp.asarray(np.abs(normal((3, 4, 5), 0)) + np.float32(low))
    scheme = activation_scheme(samples, (4, 8), symmetric=symmetric)
    assert not scheme.signed
    scale, zero_point = min_max_quantizers(samples, scheme)
    expected = float(samples.max()) / np.asarray([15, 255])
    assert_close(scale[:, 0, 0], expected)
    if not symmetric:
        # Codes count from 0, so that 0 has the code 0.
        assert_equal(zero_point, np.zeros((2, 1, 1)))
    assert activation_scheme(samples - np.float32(3.0 + low), (4, 8)).signed


def test_nothing_has_no_scale():
    with pytest.raises(ValueError, match="take some batches"):
        activation_scheme(jnp.zeros((0, 4)), (8,))
    with pytest.raises(ValueError, match="is empty"):
        min_max_quantizers(jnp.zeros((0, 4)), Scheme())
    with pytest.raises(ValueError, match="do not divide 12 inputs: take 4"):
        searched_quantizers(weight_of(), Scheme(granularity="group", group_size=5))
