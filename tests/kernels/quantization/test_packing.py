"""Packing: every code of every width comes back, for any number of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.quantization.packing import pack, packed_size, unpack, unpack_array
from tests.variants import mainly


@st.composite
def codes_of_bits(draw, most=40):
    bits = draw(st.integers(2, 8))
    codes = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    values = draw(st.lists(codes, max_size=most))
    return np.asarray(values, draw(st.sampled_from([np.int8, np.int32]))), bits


@given(codes_of_bits())
def test_codes_come_back_from_bytes(given_codes):
    codes, bits = given_codes
    packed = pack(codes, bits)
    assert packed.dtype == np.uint8
    assert packed.size == packed_size(codes.size, bits) == -(-codes.size * bits // 8)
    found = unpack(packed, bits, codes.size)
    assert found.dtype == np.int8
    assert found.tolist() == codes.tolist()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("count", [21, *mainly(0, 1, 7, 16)])
def test_a_device_unpacks_as_the_host_does(bits, count):
    half = 2 ** (bits - 1)
    codes = np.random.default_rng(0).integers(-half, half, count)
    packed = pack(codes, bits)
    found = unpack_array(jnp.asarray(packed), bits, count)
    assert found.dtype == jnp.int8
    assert found.tolist() == codes.tolist()


def test_the_first_code_is_in_the_lowest_bits():
    assert pack(np.asarray([1, -1, 0, -2]), 2).tolist() == [0b10_00_11_01]
    assert pack(np.asarray([-4, 3, 1]), 3).tolist() == [0b01_011_100, 0b0]
    assert pack(np.asarray([[-128, 127]]), 8).tolist() == [0x80, 0x7F]


@pytest.mark.parametrize(
    ("codes", "bits", "message"),
    [
        ([0, 2], 2, "codes from 0 to 2 do not fit into 2 bits, which hold -2 to 1"),
        ([-9], 4, "do not fit into 4 bits"),
        ([200], 8, "do not fit into 8 bits"),
        ([0.5], 4, "must be integers, got float64"),
        ([0], 1, "cannot have 1 bits"),
        ([0], 16, "cannot have 16 bits"),
    ],
)
def test_what_does_not_fit_is_refused(codes, bits, message):
    with pytest.raises(ValueError, match=message):
        pack.__wrapped__(np.asarray(codes), bits)


def test_a_file_of_the_wrong_length_is_refused():
    packed = pack(np.zeros(10, np.int8), 3)
    with pytest.raises(ValueError, match="10 codes of 4 bits are 5 bytes, got 4: was"):
        unpack(packed, 4, 10)
    with pytest.raises(ValueError, match="11 codes of 3 bits are 5 bytes, got 4"):
        unpack_array(jnp.asarray(packed), 3, 11)
