"""Norms: statistics over the active size, and size 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.extents import Extent, Fixed, Indexed, Mixed
from kernels.normalization import layer_norm, rms_norm
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

CHOICES = (3, 6, 12)
FULL, ROWS = 12, 4
EPSILON = 1e-6


def bare_rms_norm(x, extent: Extent):
    return rms_norm(x, jnp.ones(FULL), extent, epsilon=EPSILON)


def bare_layer_norm(x, extent: Extent):
    return layer_norm(x, jnp.ones(FULL), jnp.zeros(FULL), extent, epsilon=EPSILON)


def reference_rms_norm(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON)


def reference_layer_norm(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)


compiled = {
    "rms": quick_jit(bare_rms_norm),
    "layer": quick_jit(bare_layer_norm),
}
references = {"rms": reference_rms_norm, "layer": reference_layer_norm}
each_norm = pytest.mark.parametrize("kind", ["rms", "layer"])


def inputs(size: int, seed: int, offset: float = 0.0) -> np.ndarray:
    x = np.zeros((ROWS, FULL), np.float32)
    x[:, :size] = normal((ROWS, size), seed) + np.float32(offset)
    return x


def padded(x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, FULL - x.shape[1])))


@each_norm
@settings(max_examples=20)
@given(st.integers(0, 2), st.integers(0, 99), st.sampled_from([0.0, 3.0, 30.0]))
def test_statistics_are_those_of_the_active_part(kind, index, seed, offset):
    size = CHOICES[index]
    x = inputs(size, seed, offset)
    expected = padded(references[kind](x[:, :size].astype(np.float64)))
    output = compiled[kind](x, Indexed(jnp.asarray(index), CHOICES))
    # The mean is subtracted from numbers of its size, which are rounded themselves.
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5 * (1 + offset))
    assert_equal(output[:, size:], np.zeros((ROWS, FULL - size)))


@each_norm
@pytest.mark.parametrize("index", range(3))
def test_statistics_over_the_full_size_would_scale_the_active_part(kind, index):
    size = CHOICES[index]
    x = inputs(size, seed=0)
    x[:, :size] -= x[:, :size].mean(-1, keepdims=True)
    right = compiled[kind](x, Indexed(jnp.asarray(index), CHOICES))[:, :size]
    naive = references[kind](x.astype(np.float64))[:, :size]
    np.testing.assert_allclose(naive, right * np.sqrt(FULL / size), rtol=1e-4)


@each_norm
def test_a_mixture_averages_over_the_expected_size(kind):
    weights = np.asarray([0.5, 0.25, 0.25], np.float32)
    mask = np.asarray([weights[u < np.asarray(CHOICES)].sum() for u in range(FULL)])
    x = inputs(FULL, seed=0)
    mean = (x * mask).sum(-1, keepdims=True) / mask.sum() if kind == "layer" else 0.0
    variance = ((x - mean) ** 2 * mask).sum(-1, keepdims=True) / mask.sum()
    expected = (x - mean) / np.sqrt(variance + EPSILON) * mask
    output = compiled[kind](x, Mixed(jnp.asarray(weights), CHOICES))
    assert_close(output, expected)


@each_norm
@pytest.mark.parametrize("extent", [Fixed(0), Indexed(jnp.asarray(0), (0, FULL))])
def test_size_zero_gives_zeros_even_if_the_scale_is_not_a_number(kind, extent):
    bad, x = jnp.full(FULL, jnp.nan), jnp.asarray(inputs(FULL, seed=0))

    def total(x, scale):
        if kind == "rms":
            return jnp.sum(rms_norm(x, scale, extent))
        return jnp.sum(layer_norm(x, scale, scale, extent))

    value, gradients = quick_jit(jax.value_and_grad(total, (0, 1)))(x, bad)
    assert_equal((value, gradients), (0.0, (jnp.zeros_like(x), jnp.zeros(FULL))))


@each_norm
@pytest.mark.parametrize("extent", [Fixed(FULL), Indexed(jnp.asarray(1), CHOICES)])
def test_statistics_of_bfloat16_are_those_of_float32(kind, extent):
    scale = jnp.ones(FULL, jnp.bfloat16)
    x = jnp.asarray(inputs(FULL if isinstance(extent, Fixed) else 6, 0), jnp.bfloat16)
    if kind == "rms":
        output, wide = rms_norm(x, scale, extent), bare_rms_norm
    else:
        output = layer_norm(x, scale, jnp.zeros_like(scale), extent)
        wide = bare_layer_norm
    assert output.dtype == jnp.bfloat16
    expected = wide(x.astype(jnp.float32), extent).astype(jnp.bfloat16)
    assert_equal(output.astype(jnp.float32), expected.astype(jnp.float32))


def test_scale_and_bias_are_applied_to_their_features():
    shapes, extent = ((2, FULL), (FULL,), (FULL,)), Fixed(FULL)
    x, scale, bias = (normal(shape, row) for row, shape in enumerate(shapes))
    bare = [np.asarray(norm(x, extent)) for norm in compiled.values()]
    expected = (bare[0] * scale, bare[1] * scale + bias)
    both = quick_jit(lambda *a: (rms_norm(*a[:2], extent), layer_norm(*a, extent)))
    assert_close(both(x, scale, bias), expected)
