"""Fake quantisation: what it rounds to, and the gradients of LSQ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed
from kernels.quantization.calibration import min_max_quantizers
from kernels.quantization.fake import fake_quantize
from kernels.quantization.quantizers import Quantizers
from kernels.quantization.scheme import Scheme
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.kernels.quantization.cases import SCHEMES, learned, weight_of

TENSOR = SCHEMES["tensor"]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_no_number_of_the_range_is_more_than_half_a_step_off(scheme):
    weight = weight_of()
    run = quick_jit(fake_quantize, static_argnums=3)
    quantizers = min_max_quantizers(weight, scheme)
    for row, bits in enumerate(scheme.widths):
        error = np.abs(run(weight, Fixed(bits), quantizers, scheme) - weight)
        scale = np.asarray(quantizers.scale[row])
        if scheme.group_size:
            scale = np.repeat(scale, scheme.group_size, axis=0)
        assert np.all(error <= scale * 0.5001)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_codes_are_those_of_so_many_bits(bits):
    scheme = Scheme(widths=(bits,), granularity="tensor")
    scale, weight = 0.5, jnp.linspace(-100, 100, 4001)[:, None]
    quantizers = Quantizers(jnp.full((1, 1, 1), scale))
    codes = np.unique(fake_quantize(weight, Fixed(bits), quantizers, scheme) / scale)
    assert codes.tolist() == list(range(-(2 ** (bits - 1)), 2 ** (bits - 1)))


def test_a_zero_point_moves_the_range_and_keeps_zero():
    scheme = Scheme(widths=(2,), granularity="tensor", symmetric=False)
    weight = jnp.asarray([[-0.2, 0.0, 1.1, 1.9, 3.2]])

    def quantized(zero_point):
        quantizers = Quantizers(jnp.ones((1, 1, 1)), jnp.full((1, 1, 1), zero_point))
        return fake_quantize(weight, Fixed(2), quantizers, scheme)

    assert_equal(quantized(-2.0), [[0, 0, 1, 2, 3]])
    assert_equal(quantized(-1.6), [[0, 0, 1, 2, 3]])
    assert_equal(quantized(-1.0), [[0, 0, 1, 2, 2]])
    # It cannot leave the codes, or 0 would be none of them.
    assert_equal(quantized(-7.0), [[0, 0, 1, 2, 3]])


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("bits", [2, 8])
def test_gradients_are_those_of_lsq(name, bits):
    scheme = SCHEMES[name]
    weight, quantizers = learned(scheme)
    cotangent = normal(weight.shape, 5)

    @quick_jit
    def gradients(weight, quantizers):
        def total(weight, quantizers):
            quantized = fake_quantize(weight, Fixed(bits), quantizers, scheme)
            return jnp.sum(quantized * cotangent)

        return jax.grad(total, (0, 1))(weight, quantizers)

    weight_grad, found = gradients(weight, quantizers)
    row = scheme.widths.index(bits)
    w, size = np.asarray(weight), scheme.group_size or len(weight)

    def entries(array):
        spread = np.repeat(np.asarray(array[row]), size, axis=0)
        return np.broadcast_to(spread, w.shape)

    s, z, half = entries(quantizers.scale), np.zeros(w.shape), 2 ** (bits - 1)
    if quantizers.zero_point is not None:
        # Zero points stay within the codes.
        z = np.clip(np.round(entries(quantizers.zero_point)), -half, half - 1)
    low, high = -half - z, half - 1 - z
    inside = (low < w / s) & (w / s < high)
    # LSQ, Eq. 3 and 5, with the range moved by the zero point.
    steps = np.where(inside, np.round(w / s), np.where(w / s <= low, low, high))
    by_scale = np.where(inside, steps - w / s, steps) * cotangent
    by_zero = np.where(inside, 0, -s) * cotangent
    n = w.size if name == "tensor" else size
    factor = 1 / np.sqrt((half - 1) * n)

    def shared(array):
        sums = array.reshape(-1, size, array.shape[1]).sum(1)
        return factor * (sums.sum(1, keepdims=True) if name == "tensor" else sums)

    assert_close(weight_grad, np.where(inside, cotangent, 0))
    assert not inside.all()
    assert_close(found.scale[row], shared(by_scale))
    if quantizers.zero_point is not None:
        assert_close(found.zero_point[row], shared(by_zero))


BEST_STEPS = {
    2: (1.054, 0.150),
    3: (0.602, 0.0408),
    4: (0.339, 0.0119),
    6: (0.105, 0.00105),
    8: (0.0309, 8.9e-5),
}
"""Best step, and mean squared error, for a normal distribution."""


NUMBERS = jnp.linspace(-6, 6, 24001)[:, None]
DENSITY = jax.nn.softmax(-(NUMBERS**2) / 2, axis=0)


def squared_errors(scale):
    """Mean squared error of each width, for normally distributed numbers."""
    quantizers = Quantizers(scale[:, None, None])

    def error(bits):
        off = fake_quantize(NUMBERS, Fixed(bits), quantizers, TENSOR) - NUMBERS
        return jnp.sum(DENSITY * off**2)

    return jnp.stack([error(bits) for bits in TENSOR.widths])


errors_of = quick_jit(squared_errors)


@pytest.fixture(scope="module")
def known():
    return np.asarray([BEST_STEPS[bits] for bits in TENSOR.widths], np.float32).T


def test_best_steps_of_a_normal_distribution_are_known(known):
    steps, errors = known
    factors = np.linspace(0.9, 1.1, 81, dtype=np.float32)
    found = np.stack([errors_of(jnp.asarray(f * steps)) for f in factors])
    assert np.abs(factors[found.argmin(0)] - 1).max() < 0.03
    assert np.abs(found.min(0) / errors - 1).max() < 0.03


def test_a_step_doubled_from_eight_bits_is_twice_as_wrong(known):
    steps, errors = known
    doubled = steps[-1] * 2.0 ** (8 - np.asarray(TENSOR.widths))
    found = np.asarray(errors_of(jnp.asarray(doubled, jnp.float32)))[:3]
    assert np.allclose(found, [0.325, 0.0815, 0.0203], rtol=0.03)
    assert (found > 1.7 * errors[:3]).all()


def test_learned_steps_come_near_the_best_ones(known):
    steps, errors = known
    slope = quick_jit(jax.grad(lambda scale: jnp.sum(squared_errors(scale))))
    widths = np.asarray(TENSOR.widths)
    scale = jnp.asarray(12 / (2.0**widths - 1), jnp.float32)
    for step in range(100):
        scale = scale * jnp.exp(-0.25 * 0.93**step * jnp.sign(slope(scale)))
    # With two bits the gradient through rounding prefers a step 4 % above the best.
    assert np.abs(scale / steps - 1).max() < 0.05
    assert np.abs(errors_of(scale) / errors - 1).max() < 0.03
