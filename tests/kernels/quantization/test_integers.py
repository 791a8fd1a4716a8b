"""Weights as integers stand for the fake-quantised numbers."""

import jax.numpy as jnp
import pytest

from kernels.extents import Fixed
from kernels.quantization.fake import fake_quantize
from kernels.quantization.integers import dequantize, quantize
from tests.kernels.comparison import assert_equal
from tests.kernels.quantization.cases import PREFIX, SCHEMES, learned, subnet


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_codes_stand_for_what_training_saw(scheme, bits):
    weight, quantizers = learned(scheme)
    seen = fake_quantize(weight, Fixed(bits), quantizers, scheme)
    whole = quantize(weight, bits, quantizers, scheme)
    assert whole.codes.dtype == jnp.int8
    assert_equal(dequantize(whole), seen)
    inputs, outputs = PREFIX
    weight, quantizers = subnet(scheme)
    part = quantize(weight, bits, quantizers, scheme)
    assert_equal(part.codes, whole.codes[:inputs, :outputs])
    assert_equal(dequantize(part), seen[:inputs, :outputs])


def test_numbers_that_are_left_as_they_are_have_no_codes():
    scheme = SCHEMES["channel"]
    weight, quantizers = learned(scheme)
    with pytest.raises(ValueError, match="16 bits are left as they are"):
        quantize(weight, 16, quantizers, scheme)
