"""Quantisers that do not fit, scales that went astray, and narrow types."""

import jax.numpy as jnp
import pytest

from kernels.extents import Fixed
from kernels.quantization.fake import fake_quantize
from kernels.quantization.quantizers import Quantizers, cut_quantizers
from kernels.quantization.scheme import Scheme
from tests.kernels.comparison import assert_equal
from tests.kernels.quantization.cases import SCHEMES, learned, weight_of


def test_quantisers_of_another_weight_or_scheme_are_refused():
    weight, quantizers = learned(SCHEMES["channel"])
    with pytest.raises(ValueError, match=r"groups x channels = \(5, 1, 5\)"):
        fake_quantize(weight[:, :5], Fixed(2), quantizers, SCHEMES["channel"])
    with pytest.raises(ValueError, match=r"= \(2, 1, 6\)"):
        fake_quantize(weight, Fixed(2), quantizers, Scheme(widths=(2, 4)))
    with pytest.raises(ValueError, match="there is no zero point, but symmetric=False"):
        fake_quantize(weight, Fixed(2), quantizers, SCHEMES["asymmetric"])
    cut = cut_quantizers(quantizers, SCHEMES["channel"], inputs=3, outputs=5)
    fake_quantize(weight[:3, :5], Fixed(2), cut, SCHEMES["channel"])


def test_a_scale_that_became_zero_or_negative_divides_nothing_by_zero():
    scheme = Scheme(widths=(4,), granularity="tensor")
    weight = weight_of()
    positive = fake_quantize(
        weight, Fixed(4), Quantizers(jnp.full((1, 1, 1), 0.3)), scheme
    )
    negative = fake_quantize(
        weight, Fixed(4), Quantizers(jnp.full((1, 1, 1), -0.3)), scheme
    )
    assert_equal(negative, positive)
    zero = fake_quantize(weight, Fixed(4), Quantizers(jnp.zeros((1, 1, 1))), scheme)
    assert jnp.isfinite(zero).all()


def test_bfloat16_weights_are_divided_in_float32_and_stay_bfloat16():
    weight, quantizers = learned(SCHEMES["asymmetric groups"])
    narrow = weight.astype(jnp.bfloat16)
    scheme = SCHEMES["asymmetric groups"]
    found = fake_quantize(narrow, Fixed(8), quantizers, scheme)
    assert found.dtype == jnp.bfloat16
    wide = fake_quantize(narrow.astype(jnp.float32), Fixed(8), quantizers, scheme)
    assert_equal(found, wide.astype(jnp.bfloat16))
