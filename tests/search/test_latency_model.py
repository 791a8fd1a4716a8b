"""The latency model: what it recovers, what it weighs, and what it refuses."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from search.latency_model import (
    LatencyModel,
    PredictionError,
    evenly_held_out,
    fit_and_test,
)


def terms_of(networks, count, seed=0):
    """Terms whose columns differ by orders of magnitude, as real ones do."""
    rng = np.random.default_rng(seed)
    return rng.uniform(1, 10, (networks, count)) * 10.0 ** np.arange(count)


@pytest.mark.parametrize("weights", [(2, 0.3, 0.01), (0, 1, 0), (5, 0, 1)])
def test_weights_that_made_the_latencies_are_recovered(weights):
    terms = terms_of(12, 3)
    model = LatencyModel.fit(terms, terms @ np.asarray(weights))
    np.testing.assert_allclose(model.weights, weights, rtol=1e-9, atol=1e-12)
    other = terms_of(5, 3, seed=1)
    np.testing.assert_allclose(model.predict(other), other @ np.asarray(weights))


@hypothesis.given(
    seed=st.integers(0, 10**6),
    networks=st.integers(4, 12),
    noise=st.floats(0.0, 2.0),
)
def test_weights_are_never_negative(seed, networks, noise):
    rng = np.random.default_rng(seed)
    terms = terms_of(networks, 4, seed)
    measured = np.exp(rng.normal(0, 1 + noise, networks))
    model = LatencyModel.fit(terms, measured)
    assert min(model.weights) >= 0
    assert (model.predict(terms) >= 0).all()


def test_a_term_that_latency_falls_with_gets_no_weight():
    # Latency = 10 - slope: the best non-negative weight of the slope is none.
    slope = np.arange(1.0, 9.0)
    terms = np.stack([np.ones(8), slope], axis=1)
    model = LatencyModel.fit(terms, 10 - slope)
    assert model.weights[0] > 0
    assert model.weights[1] == 0


def test_errors_count_relative_to_the_latency():
    # One constant for 1 ms and 3 ms: minimising (w - 1)^2 + (w/3 - 1)^2 gives 1.2,
    # where absolute errors would give their mean, 2.
    model = LatencyModel.fit(np.ones((2, 1)), np.asarray([1.0, 3.0]))
    assert model.weights == (pytest.approx(1.2),)


def test_a_term_that_is_always_zero_does_no_harm():
    terms = np.stack([np.ones(4), np.zeros(4)], axis=1)
    model = LatencyModel.fit(terms, np.full(4, 2.0))
    np.testing.assert_allclose(model.predict(terms), 2.0)


def test_fewer_networks_than_terms_are_refused():
    with pytest.raises(ValueError, match="2 measured networks cannot fit 3 terms"):
        LatencyModel.fit(terms_of(2, 3), np.ones(2))


@pytest.mark.parametrize("latency", [0.0, -1.0, float("nan")])
def test_latencies_that_are_not_positive_are_refused(latency):
    with pytest.raises(ValueError, match="every measured latency must be positive"):
        LatencyModel.fit(terms_of(3, 2), np.asarray([1.0, latency, 2.0]))


def test_terms_of_another_model_are_refused():
    model = LatencyModel((1.0, 2.0))
    with pytest.raises(ValueError, match="has 2 terms, the supernet gives 3; measure"):
        model.predict(terms_of(4, 3))


def test_prediction_error_is_that_of_a_hand_count():
    measured = np.asarray([1.0, 2.0, 4.0, 10.0])
    predicted = np.asarray([1.1, 2.5, 2.0, 10.5])
    error = PredictionError.of(predicted, measured)
    # Relative errors 10%, 25%, 50% and 5%.
    assert error.mape_percent == pytest.approx(22.5)
    # Whether 1.1 is more than 10% away is a matter of rounding: 1.09 is not.
    exact = PredictionError.of(np.asarray([1.09, 2.5, 2.0, 10.5]), measured)
    assert exact.within_10_percent == 50.0
    # Of six pairs one is in the wrong order: (5 - 1) / 6.
    assert error.kendall_tau == pytest.approx(4 / 6)


def test_perfect_and_reversed_predictions_are_the_extremes():
    measured = np.asarray([1.0, 2.0, 3.0])
    assert PredictionError.of(measured, measured) == PredictionError(0.0, 100.0, 1.0)
    assert PredictionError.of(measured[::-1].copy(), measured).kendall_tau == -1.0


def test_what_is_held_out_is_spread_and_leaves_the_extremes_to_the_fit():
    assert np.flatnonzero(evenly_held_out(10, 3)).tolist() == [1, 4, 8]
    assert not evenly_held_out(10, 9)[[0, -1]].any()
    assert evenly_held_out(10, 9).sum() == 8
    assert not evenly_held_out(2, 1).any()


def test_a_model_is_tested_on_what_it_was_not_fitted_to():
    terms = terms_of(9, 2)
    measured = terms @ np.asarray([2.0, 0.5])
    held_out = evenly_held_out(9, 3)
    measured[held_out] *= 1.2
    model, error = fit_and_test(terms, measured, held_out)
    np.testing.assert_allclose(model.weights, (2.0, 0.5))
    assert error.mape_percent == pytest.approx(100 / 6)
    assert error.within_10_percent == 0.0
