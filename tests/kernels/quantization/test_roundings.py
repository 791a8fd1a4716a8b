"""Roundings that operations apply: the same numbers as fake quantisation gives."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed, Indexed, Mixed
from kernels.quantization.activations import fake_quantize_activations
from kernels.quantization.quantizers import Quantizers
from kernels.quantization.roundings import (
    refusal,
    rounded_by,
    rounding,
    while_running,
)
from kernels.quantization.scheme import ActivationScheme
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.kernels.quantization.cases import indexed, kinds, one_hot

CHOICES = (2, 4, 16, 32)
SHAPE = (2, 5, 8)
SCHEME = ActivationScheme(widths=(2, 3, 4))
UNSIGNED = ActivationScheme(widths=(2, 3, 4), signed=False)
X = jnp.asarray(normal(SHAPE, 0))
COTANGENT = jnp.asarray(normal(SHAPE, 1))
SCALES = Quantizers(jnp.asarray([0.9, 0.5, 0.2])[:, None, None])
"""They cut the largest activations off."""


def rounded(x, extent, quantizers, scheme=SCHEME):
    found = rounding(extent, quantizers, scheme, features=12)
    return rounded_by(x, found)


def faked(x, extent, quantizers, scheme=SCHEME):
    return fake_quantize_activations(x, extent, quantizers, scheme, features=12)


@functools.cache
def graded(way, scheme=SCHEME):
    """Activations, and gradients of x, of the scales and of probabilities."""

    @quick_jit
    def run(x, extent, quantizers):
        def read(x, quantizers, weights):
            mixed = weights is not None
            chosen = dataclasses.replace(extent, weights=weights) if mixed else extent
            return way(x, chosen, quantizers, scheme)

        y, pull = jax.vjp(read, x, quantizers, getattr(extent, "weights", None))
        return y, *pull(COTANGENT.astype(y.dtype))

    return run


each_kind = pytest.mark.parametrize(
    "extent", kinds(4, CHOICES), ids=["fixed", "indexed", "one-hot"]
)
EXTENTS = [
    *(extent for bits in (2, 16) for extent in kinds(bits, CHOICES)),
    indexed(4, (2, 3, 4)),
    Mixed(jnp.asarray([0.1, 0.2, 0.3, 0.4]), CHOICES),
    Mixed(jnp.asarray([0.3, 0.0, 0.7, 0.0]), CHOICES),
    Mixed(jnp.asarray([0.3, 0.7]), (3, 4)),
]


@pytest.mark.parametrize(
    ("extent", "scheme"),
    [*((extent, SCHEME) for extent in EXTENTS), (EXTENTS[-3], UNSIGNED)],
    ids=lambda value: type(value).__name__,
)
def test_a_rounding_is_fake_quantisation_with_all_its_gradients(extent, scheme):
    found = graded(rounded, scheme)(X, extent, SCALES)
    assert_close(found, graded(faked, scheme)(X, extent, SCALES))


@pytest.mark.parametrize("bits", [16, 32])
def test_what_is_kept_is_not_rounded_at_all(bits):
    assert rounding(Fixed(bits), SCALES, SCHEME, features=12) is None
    assert rounding(indexed(16, (16, 32)), SCALES, SCHEME, features=12) is None
    broken = jnp.full(SHAPE, jnp.inf).at[0].set(X[0])
    for extent in kinds(bits, CHOICES)[1:]:
        y, x_grad, scales_grad, _ = graded(rounded)(broken, extent, SCALES)
        assert_equal((y, x_grad), (broken, COTANGENT))
        assert_equal(scales_grad, jax.tree.map(jnp.zeros_like, SCALES))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("bits", [4, 16])
def test_what_is_broken_of_other_widths_leaks_nowhere(bad, bits):
    read = jnp.asarray(SCHEME.widths)[:, None, None] == bits
    broken = Quantizers(jnp.where(read, SCALES.scale, bad))
    for extent in (indexed(bits, CHOICES), one_hot(bits, CHOICES)):
        *found, slopes = graded(rounded)(X, extent, broken)
        *clean, _ = graded(rounded)(X, extent, SCALES)
        assert_equal(found, clean)
        assert slopes is None or jnp.isfinite(slopes).all()


@each_kind
def test_what_diverged_does_not_look_well(extent):
    broken = X.at[0, 1, 2].set(jnp.nan)
    y = rounded(broken, extent, SCALES)
    assert_equal(jnp.isnan(y), jnp.isnan(broken))
    lost = Quantizers(jnp.full_like(SCALES.scale, jnp.nan))
    assert jnp.isnan(rounded(X, extent, lost)).all()


@each_kind
def test_halves_of_floats_are_rounded_as_fake_quantisation_does(extent):
    half = X.astype(jnp.bfloat16)
    y, x_grad, scales_grad, _ = graded(rounded)(half, extent, SCALES)
    other, other_grad, others_grad, _ = graded(faked)(half, extent, SCALES)
    assert y.dtype == x_grad.dtype == jnp.bfloat16
    assert_equal((y, x_grad), (other, other_grad))
    assert scales_grad.scale.dtype == jnp.float32
    assert_close(scales_grad, others_grad)


def test_a_population_has_widths_of_its_own():
    population = Indexed(jnp.asarray([0, 1, 2]), CHOICES)
    mapped = quick_jit(jax.vmap(lambda extent: rounded(X, extent, SCALES)))(population)
    alone = [rounded(X, Fixed(bits), SCALES) for bits in CHOICES[:3]]
    assert_close(mapped, jnp.stack(alone))


@pytest.mark.parametrize("size", [0, 4])
def test_where_nothing_runs_nothing_of_a_rounding_is_read(size):
    broken = Quantizers(jnp.full_like(SCALES.scale, jnp.nan))

    @quick_jit
    def run(x, extents, quantizers):
        def read(x, quantizers):
            found = rounding(indexed(2, CHOICES), quantizers, SCHEME, features=12)
            return rounded_by(x, while_running(found, (Fixed(8), *extents)))

        y, pull = jax.vjp(read, x, quantizers)
        return y, *pull(COTANGENT)

    *expected, _ = graded(rounded)(X, indexed(2, CHOICES), SCALES)
    for extent in kinds(size, (0, 4)):
        found = run(X, (extent,), SCALES if size else broken)
        assert_equal(
            jax.tree.leaves(found),
            [leaf if size else 0 * leaf for leaf in jax.tree.leaves(expected)],
        )


def test_no_rounding_leaves_everything_as_it_is():
    assert rounded_by(X, None) is X
    assert while_running(None, (Fixed(0),)) is None
    assert refusal(None, None) is None
    found = rounding(Fixed(4), SCALES, SCHEME, features=12)
    assert while_running(found, (Fixed(8), indexed(4, (2, 4)))) is found
    assert refusal(None, found) is not None


def test_what_does_not_fit_is_refused():
    asymmetric = ActivationScheme(widths=(2, 3, 4), symmetric=False)
    with pytest.raises(ValueError, match="take an ActivationScheme with symmetric"):
        rounding(Fixed(4), SCALES, asymmetric, features=12)
    with pytest.raises(ValueError, match="do not fit"):
        rounding(Fixed(4), Quantizers(jnp.ones((2, 1, 1))), SCHEME, features=12)
    for extent in (Fixed(5), indexed(2, (2, 5)), one_hot(2, (2, 5))):
        with pytest.raises(ValueError, match="there is no scale for 5 bits"):
            rounding(extent, SCALES, SCHEME, features=12)
