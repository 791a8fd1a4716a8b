"""A step of a search: what moves in each regime, and what stands still."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.gradient_search.samplings import (
    Dirichlet,
    Gumbel,
    SinglePath,
    Softmax,
    Sparsemax,
)
from supernets.gradient_search.specs import (
    Alternating,
    GradientSearch,
    Joint,
    Multipliers,
    TwoStage,
)
from supernets.gradient_search.state import Batches, from_arrays, to_arrays
from supernets.gradient_search.step import make_search_step
from supernets.optimizers.adamw import AdamW
from tests.kernels.comparison import assert_equal
from tests.supernets.gradient_search.toy import (
    HIDDEN,
    NETWORK,
    SPACE,
    data,
    params_of,
)
from tests.variants import mainly

PRICES = {"hidden": lambda genotypes: np.asarray(HIDDEN.values, float)[genotypes[:, 0]]}
LIMITS = {"hidden": 8.0}
REGIMES = {
    "two-stage": TwoStage(),
    "alternating": Alternating(optimizer=AdamW(learning_rate=1e-2)),
    "joint": Joint(optimizer=AdamW(learning_rate=1e-2)),
}


def batches_of(regime):
    """Halves of the data, as the regime takes them."""
    held_out, training = data(0, half=1), data(0)
    return {
        "two-stage": Batches(architecture=held_out),
        "alternating": Batches(held_out, training),
        "joint": Batches(weights=training),
    }[regime]


def started(spec, seed=0, network=NETWORK, prices=PRICES):
    step = make_search_step(network, SPACE, spec, prices)
    return step, step.initial_state(params_of(0), key=jax.random.key(seed))


def after(step, state, regime, *, start=0, stop=3, limits=LIMITS, seed=1):
    key = jax.random.key(seed)
    for number in range(start, stop):
        state, metrics = step(state, batches_of(regime), limits, number, key=key)
    return state, metrics


@pytest.mark.slow
@pytest.mark.parametrize("regime", mainly(*REGIMES, mark=pytest.mark.long))
def test_weights_move_in_the_regimes_that_train_them(regime):
    step, state = started(GradientSearch(regime=REGIMES[regime]))
    before = jax.tree.map(np.array, (state.architecture.logits, state.params))
    state, metrics = after(step, state, regime)
    moved = [
        not np.array_equal(new, old)
        for new, old in zip(
            jax.tree.leaves((state.architecture.logits, state.params)),
            jax.tree.leaves(before),
            strict=True,
        )
    ]
    assert moved[0]
    assert all(moved[1:]) == any(moved[1:]) == (regime != "two-stage")
    assert np.isfinite(metrics.loss)


@pytest.mark.slow
@pytest.mark.parametrize("regime", mainly(*REGIMES))
def test_a_search_that_was_saved_goes_on_as_if_it_had_not_been(regime):
    step, state = started(GradientSearch(regime=REGIMES[regime], steps=6))
    half, _ = after(step, state, regime)
    arrays = to_arrays(half)
    whole, told = after(step, half, regime, start=3, stop=6)
    _, fresh = started(GradientSearch(regime=REGIMES[regime], steps=6), seed=5)
    again, told_again = after(step, from_arrays(fresh, arrays), regime, start=3, stop=6)
    assert_equal(to_arrays(again), to_arrays(whole))
    assert_equal(told_again, told)


@pytest.mark.slow
def test_the_same_seed_is_the_same_search_and_another_is_not():
    step, state = started(GradientSearch())
    saved = to_arrays(state)
    runs = [
        after(step, from_arrays(state, saved), "two-stage", seed=seed)[0]
        for seed in (1, 1, 2)
        if (state := started(GradientSearch())[1])
    ]
    logits = [np.asarray(run.architecture.logits["hidden"]) for run in runs]
    assert_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])


@pytest.mark.parametrize(
    "sampling", mainly(Softmax(), Sparsemax(), Dirichlet(), Gumbel())
)
def test_every_sampling_moves_the_architecture(sampling):
    step, state = started(GradientSearch(sampling=sampling, weight_decay=0.0))
    before = np.array(state.architecture.logits["hidden"])
    state, metrics = after(step, state, "two-stage")
    assert not np.array_equal(state.architecture.logits["hidden"], before)
    assert np.isfinite(metrics.gradient_norm)


@pytest.mark.slow
def test_weights_that_a_single_path_does_not_use_stand_still():
    spec = GradientSearch(
        regime=Alternating(optimizer=AdamW(learning_rate=1e-2), sampling=SinglePath())
    )
    step, state = started(spec)
    used = set()
    for number in range(12):
        before = np.array(jax.tree.leaves(state.params)[0])
        state, _ = after(step, state, "alternating", start=number, stop=number + 1)
        moved = np.flatnonzero(np.asarray(jax.tree.leaves(state.params)[0]) != before)
        used |= {int(moved.max()) + 1} if len(moved) else set()
    # Those of Adam's momentum would all have moved from the second step on.
    assert used <= set(HIDDEN.values)
    assert len(used) > 1


@pytest.mark.slow
def test_multipliers_follow_the_subnet_that_the_architecture_stands_for():
    spec = GradientSearch(multipliers=Multipliers(initial=1.0, rate=0.5))
    step, state = started(spec)
    state, metrics = after(step, state, "two-stage", stop=1)
    size = HIDDEN.values[int(metrics.genotype[0])]
    np.testing.assert_allclose(metrics.decoded_costs, [size / 8.0], rtol=1e-6)
    expected = max(1.0 + 0.5 * (size / 8.0 - 1.0), 0.0)
    np.testing.assert_allclose(state.architecture.multipliers, [expected], rtol=1e-6)


@pytest.mark.slow
def test_pressure_brings_the_decoded_subnet_within_its_limit():
    spec = GradientSearch(steps=150, multipliers=Multipliers(rate=2.0))
    step, state = started(spec)
    seen = []
    for number in range(spec.steps):
        state, metrics = after(
            step,
            state,
            "two-stage",
            start=number,
            stop=number + 1,
        )
        seen.append(float(metrics.decoded_costs[0]))
    assert min(seen[-50:]) <= 1.0


@pytest.mark.parametrize("regime", mainly(*REGIMES))
def test_a_step_that_is_not_finite_changes_nothing(regime):
    step, state = started(GradientSearch(regime=REGIMES[regime]))
    before = to_arrays(state)
    bad = jax.tree.map(lambda leaf: leaf * jnp.nan, batches_of(regime))
    state, metrics = step(state, bad, LIMITS, 0, key=jax.random.key(0))
    assert_equal(to_arrays(state), before)
    assert not np.isfinite(metrics.gradient_norm)


@pytest.mark.slow
def test_one_program_serves_all_limits_and_steps(compilations):
    step, state = started(GradientSearch())
    state, _ = after(step, state, "two-stage")
    count = len(compilations)
    after(step, state, "two-stage", start=3, stop=6, limits={"hidden": 20.0})
    assert len(compilations) == count


@pytest.mark.slow
def test_a_search_without_bounds_needs_no_limits():
    step, state = started(GradientSearch(), prices=None)
    _, metrics = after(step, state, "two-stage", limits={})
    assert metrics.costs.shape == (0,)


def test_limits_must_be_those_of_the_prices_and_positive():
    step, state = started(GradientSearch())
    for limits in ({}, {"width": 1.0}):
        with pytest.raises(ValueError, match=r"bounds \['hidden'\]"):
            after(step, state, "two-stage", limits=limits)
    with pytest.raises(ValueError, match="must be positive"):
        after(step, state, "two-stage", limits={"hidden": 0.0})


@pytest.mark.parametrize(
    ("regime", "missing"),
    [("two-stage", "architecture"), ("alternating", "weights"), ("joint", "weights")],
)
def test_a_missing_batch_is_named(regime, missing):
    step, state = started(GradientSearch(regime=REGIMES[regime]))
    batches = batches_of(regime)._replace(**{missing: None})
    with pytest.raises(ValueError, match=missing):
        step(state, batches, LIMITS, 0, key=jax.random.key(0))


def test_a_saved_search_of_another_kind_is_refused():
    _, state = started(GradientSearch())
    arrays = to_arrays(state)
    name = next(iter(arrays))
    with pytest.raises(ValueError, match="only in this one"):
        from_arrays(state, {n: a for n, a in arrays.items() if n != name})
    with pytest.raises(ValueError, match="only in it"):
        from_arrays(state, {**arrays, "more": np.zeros(1)})
    with pytest.raises(ValueError, match="has shape"):
        from_arrays(state, {**arrays, name: np.zeros((3, 3))})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("samples", 0),
        ("decode_every", 0),
        ("learning_rate", 0.0),
        ("clip", float("nan")),
        ("weight_decay", -1.0),
        ("refine", -1),
        ("sampling", SinglePath()),
    ],
)
def test_specs_out_of_range_are_refused(field, value):
    with pytest.raises(
        ValueError, match=field if field != "sampling" else "SinglePath"
    ):
        GradientSearch(**{field: value})


@pytest.mark.parametrize("field", ["initial", "rate"])
def test_multipliers_must_not_be_negative(field):
    with pytest.raises(ValueError, match=field):
        Multipliers(**{field: -1.0})
