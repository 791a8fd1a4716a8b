"""Extents: masks, gates, and extents as arguments of JAX transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.extents import (
    Fixed,
    Indexed,
    Mixed,
    active_size,
    gated,
    prefix_mask,
    resized,
    restrict,
)
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

CHOICES = (2, 3, 6)
FULL = 6
GATE = (0, 1)


def indexed(index, choices=CHOICES):
    return Indexed(jnp.asarray(index), choices)


def array(shape, seed):
    return jnp.asarray(normal(shape, seed))


def one_hot(index, choices=CHOICES):
    return Mixed(jax.nn.one_hot(index, len(choices)), choices)


def probabilities(size):
    weights = st.lists(st.floats(0.01, 1.0), min_size=size, max_size=size)
    return weights.map(lambda w: np.asarray(w) / np.sum(w))


@pytest.mark.parametrize("index", range(3))
def test_the_hard_mask_is_the_prefix_of_the_chosen_size(index):
    mask = prefix_mask(indexed(index), FULL)
    assert mask.dtype == bool
    assert mask.tolist() == [u < CHOICES[index] for u in range(FULL)]
    assert_equal(prefix_mask(one_hot(index), FULL), mask.astype(jnp.float32))


@settings(max_examples=25)
@given(probabilities(3), probabilities(2))
def test_the_soft_mask_is_the_sum_of_padded_prefixes(rows, columns):
    shape, choices = (FULL, 4), ((2, 3, 6), (1, 4))
    weight = np.random.default_rng(0).normal(size=shape)
    expected = np.zeros(shape)
    for p, height in zip(rows, choices[0], strict=True):
        for q, width in zip(columns, choices[1], strict=True):
            padded = np.zeros(shape)
            padded[:height, :width] = weight[:height, :width]
            expected += p * q * padded
    with jax.enable_x64(True):
        extents = [
            Mixed(jnp.asarray(w), c)
            for w, c in zip((rows, columns), choices, strict=True)
        ]
        mixed = restrict(restrict(jnp.asarray(weight), extents[0], 0), extents[1], 1)
        assert mixed.dtype == jnp.float64
        np.testing.assert_allclose(mixed, expected, rtol=0, atol=1e-12)


def test_the_gradient_of_a_probability_is_its_prefix_against_the_cotangent():
    weight, cotangent = array((FULL, 2), 0), array((FULL, 2), 1)

    def total(extent):
        return jnp.sum(restrict(weight, extent, axis=0) * cotangent)

    gradient = jax.grad(total)(Mixed(jnp.full(3, 1 / 3), CHOICES))
    product = np.asarray(weight) * np.asarray(cotangent)
    assert gradient.choices == CHOICES
    assert_close(gradient.weights, np.stack([product[:s].sum() for s in CHOICES]))


def test_restricting_slices_for_fixed_and_zeroes_otherwise():
    weight = array((2, FULL), 0)
    assert_equal(restrict(weight, Fixed(3), axis=1), weight[:, :3])
    assert restrict(weight, Fixed(FULL), axis=1) is weight
    padded = weight.at[:, 3:].set(0.0)
    assert_equal(restrict(weight, indexed(1), axis=1), padded)
    assert_equal(restrict(weight, one_hot(1), axis=1), padded)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_inactive_leaks_neither_into_values_nor_gradients(bad):
    weight = array((2, FULL), 0).at[:, 3:].set(bad)

    def total(weight):
        return jnp.sum(restrict(weight, indexed(1), axis=1) ** 2)

    value, gradient = jax.value_and_grad(total)(weight)
    clean = weight.at[:, 3:].set(0.0)
    assert_equal(value, total(clean))
    assert_equal(gradient, 2 * clean)


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("on", [0, 1])
def test_a_gate_is_one_size_for_all_kinds_of_extents(index, on):
    size = CHOICES[index] * on
    assert gated(Fixed(CHOICES[index]), Fixed(on)) == Fixed(size)
    assert gated(indexed(index), Fixed(1)).choices == CHOICES
    extents = (Fixed(CHOICES[index]), indexed(index), one_hot(index))
    gates = (Fixed(on), indexed(on, GATE), one_hot(on, GATE))
    for extent in extents:
        for gate in gates:
            combined = gated(extent, gate)
            assert active_size(combined) == size
            if not isinstance(combined, Fixed):
                hard = jnp.arange(FULL) < size
                assert_equal(prefix_mask(combined, FULL).astype(bool), hard)


@settings(max_examples=25)
@given(probabilities(3), probabilities(2))
def test_a_soft_gate_shrinks_the_soft_mask(weights, on):
    extent = Mixed(jnp.asarray(weights, jnp.float32), CHOICES)
    gate = Mixed(jnp.asarray(on, jnp.float32), GATE)
    combined = gated(extent, gate)
    assert_close(jnp.sum(combined.weights), 1.0)
    expected = prefix_mask(extent, FULL) * gate.weights[1]
    assert_close(prefix_mask(combined, FULL), expected)
    assert_close(active_size(combined), active_size(extent) * gate.weights[1])


def test_resizing_keeps_the_selection():
    def doubled(size):
        return 2 * size

    assert resized(Fixed(3), doubled) == Fixed(6)
    assert active_size(resized(indexed(1), doubled)) == 6
    assert active_size(resized(one_hot(1), doubled)) == 6


@pytest.fixture
def traced():
    """A compiled function of an array and an extent that records its traces."""
    traces = []

    def total(array, extent):
        traces.append(extent)
        return jnp.sum(restrict(array, extent, axis=0) ** 2) * active_size(extent)

    return quick_jit(total), traces


def test_one_program_serves_every_index_and_every_mixture(traced):
    total, traces = traced
    vector = array((FULL,), 0)
    for index, size in enumerate(CHOICES):
        expected = jnp.sum(vector[:size] ** 2) * size
        assert_close(total(vector, indexed(index)), expected)
    assert len(traces) == 1
    for index in range(3):
        assert_close(total(vector, one_hot(index)), total(vector, indexed(index)))
    assert len(traces) == 2
    for size in CHOICES:
        total(vector, Fixed(size))
    assert len(traces) == 2 + len(CHOICES)


def test_other_choices_are_another_program(traced):
    total, traces = traced
    total(array((FULL,), 0), indexed(0))
    total(array((FULL,), 0), indexed(0, (1, 6)))
    assert len(traces) == 2


@pytest.mark.parametrize("make", [indexed, one_hot])
def test_a_population_of_extents_maps_scans_and_differentiates(make):
    vector = array((FULL,), 0)

    def total(vector, extent):
        return jnp.sum(restrict(vector, extent, axis=0) ** 2)

    expected = jnp.stack([jnp.sum(vector[:size] ** 2) for size in CHOICES])
    population = make(jnp.arange(3))
    assert_close(jax.vmap(total, (None, 0))(vector, population), expected)
    _, scanned = jax.lax.scan(lambda c, e: (c, total(vector, e)), None, population)
    assert_close(scanned, expected)
    gradients = jax.vmap(jax.grad(total), (None, 0))(vector, population)
    for size, gradient in zip(CHOICES, gradients, strict=True):
        assert_equal(gradient, (2 * vector).at[size:].set(0.0))


def test_extents_are_trees_of_their_traced_part():
    assert jax.tree.leaves(Fixed(3)) == []
    assert jax.tree.leaves(indexed(1)) == [1]
    assert jax.tree.map(lambda index: index + 1, indexed(1)).choices == CHOICES
