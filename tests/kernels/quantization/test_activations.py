"""Activations: the law of extents, and the gradient of their one scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed
from kernels.quantization.activations import fake_quantize_activations
from kernels.quantization.calibration import activation_scheme, min_max_quantizers
from kernels.quantization.quantizers import Quantizers
from kernels.quantization.scheme import ActivationScheme
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.kernels.quantization.cases import kinds


@pytest.mark.parametrize(
    ("low", "symmetric"), [(-1.0, True), (-1.0, False), (0.0, True)]
)
def test_activations_obey_the_law_and_leave_masked_features_alone(low, symmetric):
    samples = jnp.maximum(jnp.asarray(normal((2, 5, 8), 0)), low)
    scheme = activation_scheme(samples, (2, 4, 8), symmetric=symmetric)
    quantizers = min_max_quantizers(samples, scheme)
    active = 5

    @quick_jit
    def run(x, extent):
        def total(x, quantizers):
            y = fake_quantize_activations(x, extent, quantizers, scheme, features=8)
            return jnp.sum(y[..., :active] ** 2), y

        return jax.grad(total, (0, 1), has_aux=True)(x, quantizers)

    masked = samples.at[..., active:].set(0.0)
    for bits in (2, 16):
        (x_grad, learned_grad), y = run(samples[..., :active], Fixed(bits))
        assert (bits == 16) == bool((y == samples[..., :active]).all())
        for extent in kinds(bits):
            (full_grad, other_grad), full = run(masked, extent)
            assert_equal(full[..., :active], y)
            assert_equal(full[..., active:], jnp.zeros((2, 5, 3)))
            assert_equal(full_grad[..., :active], x_grad)
            assert_close(other_grad, learned_grad)


def test_the_gradient_of_the_scale_counts_the_features_of_the_full_size():
    scheme = ActivationScheme(widths=(4,), signed=False)
    x, scale = jnp.asarray([[0.3, 1.2, 40.0, -1.0]]), 0.5

    def total(scale):
        quantizers = Quantizers(jnp.full((1, 1, 1), scale))
        y = fake_quantize_activations(x, Fixed(4), quantizers, scheme, features=20)
        return jnp.sum(y)

    # LSQ, Eq. 3: rounding errors of 0.6 and 2.4 steps, the highest code, the lowest.
    expected = (0.4 - 0.4 + 15 + 0) / np.sqrt(15 * 20)
    assert_close(jax.grad(total)(scale), expected)
