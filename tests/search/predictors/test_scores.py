"""Scores of predictions, against scipy and by hand."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats

from search.predictors import Prediction
from search.predictors.scores import (
    Scores,
    kendall_tau,
    mape,
    spearman,
    top_regret,
    within,
)

TRUE = np.asarray([1.0, 2.0, 3.0, 4.0])
SWAPPED = np.asarray([2.0, 1.0, 3.0, 4.0])
TIED = hnp.arrays(float, (2, 9), elements=st.integers(0, 4).map(float))


@hypothesis.given(TIED)
def test_rank_correlations_are_those_of_scipy(pair):
    hypothesis.assume((np.ptp(pair, axis=1) > 0).all())
    tau = scipy.stats.kendalltau(*pair).statistic
    rho = scipy.stats.spearmanr(*pair).statistic
    np.testing.assert_allclose(kendall_tau(*pair), tau, atol=1e-12)
    np.testing.assert_allclose(spearman(*pair), rho, atol=1e-12)


def test_rank_correlations_by_hand():
    assert kendall_tau(TRUE, TRUE) == spearman(TRUE, -TRUE) * -1 == 1
    # One of six pairs is in the wrong order; ranks differ by 1, 1, 0, 0.
    assert kendall_tau(SWAPPED, TRUE) == pytest.approx(4 / 6)
    assert spearman(SWAPPED, TRUE) == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_a_constant_has_no_order():
    assert np.isnan(kendall_tau(np.ones(4), TRUE))
    assert np.isnan(spearman(np.ones(4), TRUE))


def test_regret_is_what_the_predicted_best_lack():
    predicted = np.asarray([3.0, 1.0, 1.0, 2.0])
    assert top_regret(predicted, TRUE, 1) == 1.0
    assert top_regret(predicted, TRUE, 3) == 1.0
    assert top_regret(predicted, TRUE, 4) == 0.0
    with pytest.raises(ValueError, match=r"top must be in 1\.\.4, got 5"):
        top_regret(predicted, TRUE, 5)


def test_relative_error_is_in_percent():
    assert mape(np.asarray([1.1, 1.8, 3.0, 4.0]), TRUE) == pytest.approx(5.0)
    with pytest.raises(ValueError, match="not 0"):
        mape(TRUE, np.zeros(4))


def test_calibration_counts_who_is_within_the_deviation():
    prediction = Prediction(TRUE, np.asarray([1.0, 0.4, 0.4, 0.1]))
    values = TRUE + np.asarray([0.9, 0.5, -0.4, 1.0])
    assert within(prediction, values, 1.0) == 0.5
    assert within(prediction, values, 2.0) == 0.75
    scores = Scores.of(prediction, TRUE, top=1)
    assert scores.within_1_std == 1
    assert scores.kendall_tau == 1
    assert scores.top_regret == scores.mape_percent == 0
