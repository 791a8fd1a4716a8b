"""Extents: masks, gates, products, and extents as arguments of transformations."""

import itertools

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
    restrict_axes,
    runs,
    scaled,
)
from tests.kernels.comparison import (
    assert_close,
    assert_equal,
    normal,
    quick_jit,
    whole,
)

CHOICES = (2, 3, 6)
FULL = 6
GATE = (0, 1)


def indexed(index, choices=CHOICES):
    return Indexed(jnp.asarray(index), choices)


def array(shape, seed):
    return jnp.asarray(normal(shape, seed))


def one_hot(index, choices=CHOICES, name=""):
    return Mixed(jax.nn.one_hot(index, len(choices)), choices, name)


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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_mixture_keeps_out_what_no_choice_reaches_on_any_axis(bad):
    weight = array((FULL, 4), 0)
    rows, columns = Mixed(jnp.asarray([0.3, 0.7, 0.0]), CHOICES), one_hot(0, (2, 4))

    def total(weight, rows, columns):
        return jnp.sum(restrict(restrict(weight, rows, 0), columns, 1) ** 2)

    run = jax.value_and_grad(total, (0, 1, 2))
    poisoned = weight.at[3:].set(bad).at[:, 2:].set(bad)
    clean = weight.at[3:].set(0.0).at[:, 2:].set(0.0)
    found, expected = (run(w, rows, columns) for w in (poisoned, clean))
    assert_equal(jax.tree.leaves(found), jax.tree.leaves(expected))
    gradient = found[1][0]
    assert_equal(gradient[3:], jnp.zeros((3, 4)))
    assert_equal(gradient[:, 2:], jnp.zeros((FULL, 2)))


def test_the_derivative_by_what_was_not_chosen_is_kept():
    weight = array((FULL,), 0)
    gradient = jax.grad(lambda e: jnp.sum(restrict(weight, e, 0)))(one_hot(1))
    assert_close(gradient.weights, [weight[:size].sum() for size in CHOICES])


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


WIDTHS, RATIOS = (2, 3, 4), (1, 3)
ROWS, COLUMNS = 4, 12


def width(weights):
    return Mixed(jnp.asarray(weights), WIDTHS, "width")


def ratio(weights):
    return Mixed(jnp.asarray(weights), RATIOS, "ratio")


def entangled(array, rows, factor):
    """A weight cut to the rows, and to that many columns times the factor."""
    return restrict_axes(array, {0: rows, 1: scaled(rows, factor)})


def superposed(array, p, q):
    """TangleNAS, Algorithm 2: the padded slice of every pair of choices."""
    pairs = zip(itertools.product(WIDTHS, RATIOS), itertools.product(p, q), strict=True)
    slices = (
        p_i * q_j * jnp.pad(array[:w, : w * r], ((0, ROWS - w), (0, COLUMNS - w * r)))
        for (w, r), (p_i, q_j) in pairs
    )
    return sum(slices, start=jnp.zeros_like(array))


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("second", range(2))
def test_a_product_is_one_size_for_all_kinds_of_extents(first, second):
    size = WIDTHS[first] * RATIOS[second]
    bases = (Fixed(WIDTHS[first]), indexed(first, WIDTHS), one_hot(first, WIDTHS, "w"))
    factors = (
        Fixed(RATIOS[second]),
        indexed(second, RATIOS),
        one_hot(second, RATIOS, "r"),
    )
    for base, factor in itertools.product(bases, factors):
        product = scaled(base, factor)
        assert active_size(product) == size
        if isinstance(product, Fixed):
            continue
        mask = prefix_mask(product, COLUMNS).astype(bool)
        assert_equal(mask, jnp.arange(COLUMNS) < size)
        assert isinstance(
            product, Mixed if Mixed in {type(base), type(factor)} else Indexed
        )
        assert active_size(gated(product, indexed(0, GATE))) == 0
        assert active_size(gated(product, indexed(1, GATE))) == size


@pytest.mark.slow
@settings(max_examples=8)
@given(probabilities(3), probabilities(2), st.integers(0, 99))
def test_sizes_that_change_together_are_averaged_together(p, q, seed):
    weight, cotangent = (
        np.random.default_rng([seed, row]).normal(size=(ROWS, COLUMNS))
        for row in range(2)
    )

    def total(restricted):
        def run(weight, p, q):
            return jnp.sum(restricted(weight, p, q) ** 2 * cotangent)

        return jax.value_and_grad(run, (0, 1, 2))

    with jax.enable_x64(True):
        given = tuple(map(jnp.asarray, (weight, p, q)))
        found = total(lambda w, p, q: entangled(w, width(p), ratio(q)))(*given)
        assert found[0].dtype == jnp.float64
        for leaf, expected in zip(
            jax.tree.leaves(found),
            jax.tree.leaves(total(superposed)(*given)),
            strict=True,
        ):
            np.testing.assert_allclose(leaf, expected, rtol=0, atol=1e-12)


def test_the_mask_of_sizes_that_change_together_need_not_be_of_rank_one():
    p, q = width([0.5, 0.25, 0.25]), ratio([0.5, 0.5])
    ones = jnp.ones((ROWS, COLUMNS))
    mask = np.asarray(entangled(ones, p, q))
    assert np.linalg.matrix_rank(mask) == 3
    apart = np.asarray(restrict(restrict(ones, p, 0), scaled(p, q), 1))
    assert np.linalg.matrix_rank(apart) == 1
    assert not np.allclose(mask, apart)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (2, 1)])
def test_a_one_hot_product_is_the_chosen_box(first, second):
    weight, cotangent = whole((ROWS, COLUMNS), 0), whole((ROWS, COLUMNS), 1)
    box = np.s_[: WIDTHS[first], : WIDTHS[first] * RATIOS[second]]

    def run(rows, factor):
        def total(weight):
            cut = entangled(weight, rows, factor)
            cut = jnp.zeros(weight.shape).at[: cut.shape[0], : cut.shape[1]].set(cut)
            return jnp.sum(cut**2 * cotangent), cut

        return jax.grad(total, has_aux=True)(jnp.asarray(weight))

    kinds = [
        (Fixed(WIDTHS[first]), Fixed(RATIOS[second])),
        (indexed(first, WIDTHS), indexed(second, RATIOS)),
        (one_hot(first, WIDTHS, "width"), one_hot(second, RATIOS, "ratio")),
        (indexed(first, WIDTHS), one_hot(second, RATIOS, "ratio")),
        (one_hot(first, WIDTHS, "width"), indexed(second, RATIOS)),
    ]
    expected = np.zeros((ROWS, COLUMNS), np.float32)
    expected[box] = weight[box]
    for kind in kinds:
        assert_equal(run(*kind), (2 * expected * cotangent, expected))


def test_independent_extents_restrict_one_axis_after_the_other():
    weight = array((ROWS, 5, FULL), 0)
    rows = width([0.2, 0.3, 0.5])
    for columns in (Fixed(3), indexed(1), Mixed(jnp.full(3, 1 / 3), CHOICES, "other")):
        found = restrict_axes(weight, {0: rows, 2: columns})
        assert_equal(found, restrict(restrict(weight, rows, 0), columns, 2))


def test_one_decision_of_two_sizes_is_not_two_decisions():
    p, ones = [0.5, 0.25, 0.25], jnp.ones((ROWS, COLUMNS))
    expected = superposed(ones, p, [0.0, 1.0])
    rows = width(p)
    tripled = resized(rows, lambda size: 3 * size)
    assert_close(restrict_axes(ones, {0: rows, 1: tripled}), expected)
    assert_close(entangled(ones, rows, Fixed(3)), expected)


def test_a_gate_leaves_sizes_that_change_together():
    p, q, on = [0.5, 0.25, 0.25], [0.5, 0.5], jnp.asarray([0.25, 0.75])
    weight, rows = array((ROWS, COLUMNS), 0), width(p)
    columns = gated(scaled(rows, ratio(q)), Mixed(on, GATE))
    found = restrict_axes(weight, {0: rows, 1: columns})
    assert_close(found, 0.75 * superposed(weight, p, q))


def test_sizes_that_change_together_may_share_the_factor():
    weight, q, p = array((3, COLUMNS), 0), [0.25, 0.75], [0.5, 0.25, 0.25]
    expected = np.zeros((3, COLUMNS))
    for (w, r), (p_i, q_j) in zip(
        itertools.product(WIDTHS, RATIOS), itertools.product(p, q), strict=True
    ):
        expected[:r, : w * r] += p_i * q_j * np.asarray(weight)[:r, : w * r]
    factor = ratio(q)
    found = restrict_axes(weight, {0: factor, 1: scaled(width(p), factor)})
    assert_close(found, expected)


def test_products_stay_entangled_through_transformations():
    weight = array((ROWS, COLUMNS), 0)
    p, q = jnp.asarray([[0.5, 0.25, 0.25], [0.0, 0.1, 0.9]]), jnp.asarray([0.4, 0.6])
    expected = jnp.stack([superposed(weight, row, q) for row in p])
    rows, factor = Mixed(p, WIDTHS, "width"), Mixed(jnp.stack([q, q]), RATIOS, "ratio")
    pairs = rows, scaled(rows, factor)

    def cut(pair):
        return restrict_axes(weight, dict(enumerate(pair)))

    assert_close(quick_jit(jax.vmap(cut))(pairs), expected)
    assert_close(jax.lax.scan(lambda c, e: (c, cut(e)), None, pairs)[1], expected)
    one = jax.tree.map(lambda leaf: leaf[0], pairs)
    assert_close(quick_jit(cut)(one), expected[0])
    slopes = jax.grad(lambda pair: jnp.sum(cut(pair)))(one)
    assert slopes[1].choices == one[1].choices


def test_a_product_of_a_mixture_needs_its_name_and_new_decisions():
    with pytest.raises(ValueError, match="has no name: a product needs one"):
        scaled(one_hot(0), Fixed(2))
    with pytest.raises(ValueError, match="repeats one"):
        scaled(width([0.5, 0.25, 0.25]), width([0.5, 0.25, 0.25]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_joint_mask_keeps_out_what_no_pair_of_choices_reaches(bad):
    weight = array((ROWS, COLUMNS), 0)
    p, q = jnp.asarray([0.5, 0.5, 0.0]), jnp.asarray([0.25, 0.75])

    def total(weight, p, q):
        return jnp.sum(entangled(weight, width(p), ratio(q)) ** 2)

    run = jax.value_and_grad(total, (0, 1, 2))
    # The largest pair of positive probability is three rows of nine columns.
    poisoned = weight.at[3:].set(bad).at[:, 9:].set(bad)
    clean = weight.at[3:].set(0.0).at[:, 9:].set(0.0)
    assert_equal(run(poisoned, p, q), run(clean, p, q))


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


@pytest.mark.parametrize("index", [0, 1])
def test_an_operation_runs_unless_one_of_its_sizes_is_zero(index):
    gate = indexed(index, GATE)
    soft = Mixed(jax.nn.one_hot(index, 2), GATE)
    for extents in ((gate,), (Fixed(3), soft), (gate, soft, indexed(0))):
        assert bool(runs(extents)) == bool(index)
    assert not runs((gate, Fixed(0)))
    assert runs((Fixed(3), indexed(index))) is None
