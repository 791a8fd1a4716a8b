"""The law of extents, for bits: all kinds give the same numbers and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed, Indexed, Mixed, restrict
from kernels.quantization.quantizers import cut_quantizers
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.kernels.quantization.cases import (
    CHOICES,
    INPUTS,
    OUTPUTS,
    QUANTIZED,
    indexed,
    kinds,
    learned,
    one_hot,
)

every_way = pytest.mark.parametrize(("way", "scheme"), QUANTIZED)
COTANGENT = jnp.asarray(normal((INPUTS, OUTPUTS), 7))


@functools.cache
def graded(way, scheme):
    """Numbers, and gradients of the weight and of what is learned of quantising it."""

    @quick_jit
    def run(weight, quantizers, extent):
        def total(weight, quantizers, extent):
            quantized = way(weight, extent, quantizers, scheme)
            return jnp.sum(quantized * COTANGENT), quantized

        graded = jax.grad(total, (0, 1), has_aux=True)
        return graded(weight, quantizers, extent)

    return run


def rows_read(scheme, bits):
    """Which rows of what is learned a width reads; slices have that of their parent."""
    rows = np.asarray(scheme.widths)
    return rows == (bits if len(rows) > 1 else 8 if bits < 16 else bits)


@every_way
def test_all_kinds_of_extents_give_the_same_numbers_and_gradients(way, scheme):
    weight, quantizers = learned(scheme)
    for bits in CHOICES:
        found = [graded(way, scheme)(weight, quantizers, e) for e in kinds(bits)]
        (weight_grad, learned_grad), quantized = found[0]
        stored = weight.astype(jnp.bfloat16).astype(weight.dtype)
        assert (bits == 16) == bool((quantized == stored).all())
        if bits == 16:
            assert_equal(weight_grad, COTANGENT)
        for (other_grad, other_learned), other in found[1:]:
            assert_equal((other, other_grad), (quantized, weight_grad))
            assert_close(other_learned, learned_grad)
        for (_, learned_grad), _ in found:
            for leaf in jax.tree.leaves(learned_grad):
                touched = np.asarray(leaf != 0).any((1, 2))
                assert_equal(touched, rows_read(scheme, bits))


@every_way
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_broken_of_other_widths_leaks_nowhere(way, scheme, bad):
    weight, quantizers = learned(scheme)
    for bits in (2, 16):
        read = rows_read(scheme, bits)[:, None, None]
        broken = jax.tree.map(lambda a, read=read: jnp.where(read, a, bad), quantizers)
        for extent in kinds(bits):
            found = graded(way, scheme)(weight, broken, extent)
            clean = graded(way, scheme)(weight, quantizers, extent)
            assert_equal(jax.tree.leaves(found), jax.tree.leaves(clean))


@every_way
@pytest.mark.parametrize("extent", [Fixed(4), indexed(4), one_hot(4)], ids=repr)
def test_a_weight_that_diverged_does_not_look_well(way, scheme, extent):
    weight, quantizers = learned(scheme)
    broken = weight.at[1, 2].set(jnp.nan)
    _, quantized = graded(way, scheme)(broken, quantizers, extent)
    assert_equal(jnp.isnan(quantized), jnp.isnan(broken))


@every_way
def test_a_mixture_is_the_average_and_knows_the_slope_of_what_was_not_chosen(
    way, scheme
):
    weight, quantizers = learned(scheme)
    extents = [Fixed(bits) for bits in CHOICES]
    each = [graded(way, scheme)(weight, quantizers, e)[1] for e in extents]
    p = jnp.asarray([0.1, 0.2, 0.3, 0.4])
    mixed = graded(way, scheme)(weight, quantizers, Mixed(p, CHOICES))[1]
    assert_close(mixed, np.tensordot(p, np.stack(each), axes=1))

    @quick_jit
    @jax.grad
    def slopes(p):
        mixed = way(weight, Mixed(p, CHOICES), quantizers, scheme)
        return jnp.sum(mixed * COTANGENT)

    expected = jnp.stack([jnp.sum(array * COTANGENT) for array in each])
    assert_close(slopes(jnp.asarray([0.0, 1.0, 0.0, 0.0])), expected)


@every_way
def test_one_program_serves_every_width_and_a_population(way, scheme):
    traces = []

    @quick_jit
    def quantized(weight, quantizers, extent):
        traces.append(extent)
        return way(weight, extent, quantizers, scheme)

    weight, quantizers = learned(scheme)
    expected = [quantized(weight, quantizers, indexed(bits)) for bits in CHOICES]
    assert len(traces) == 1
    population = Indexed(jnp.arange(len(CHOICES)), CHOICES)
    mapped = quick_jit(jax.vmap(lambda e: way(weight, e, quantizers, scheme)))
    assert_equal(mapped(population), np.stack(expected))


@every_way
@pytest.mark.parametrize("prefix", [(12, 6), (5, 6), (7, 2), (1, 1)])
def test_the_prefix_of_what_is_quantised_is_what_the_prefix_is_quantised_to(
    way, scheme, prefix
):
    inputs, outputs = prefix

    @quick_jit
    def both(weight, quantizers):
        whole = way(weight, Fixed(4), quantizers, scheme)
        cut = cut_quantizers(quantizers, scheme, inputs=inputs, outputs=outputs)
        alone = way(weight[:inputs, :outputs], Fixed(4), cut, scheme)
        return restrict(restrict(whole, Fixed(inputs), 0), Fixed(outputs), 1), alone

    expected, alone = both(*learned(scheme))
    assert_equal(alone, expected)
