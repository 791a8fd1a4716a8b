"""What every predictor has to do; a new one is a new row of PREDICTORS."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize

from experiments.benchmarks.landscape import Landscape
from search.predictors import (
    BestOf,
    Combination,
    Ensemble,
    Fitted,
    GaussianProcess,
    Members,
    Predictor,
    Ridge,
)
from search.predictors.features import Standard
from search.predictors.gaussian_process import evidence
from search.predictors.scores import Scores, kendall_tau

LANDSCAPE = Landscape()
SMALL = Ensemble(networks=4, steps=200)

PREDICTORS = [
    Ridge(),
    GaussianProcess(),
    SMALL,
    Combination(),
    BestOf(candidates=(Combination(), Ridge()), folds=4),
]
every_predictor = pytest.mark.parametrize(
    "predictor", PREDICTORS, ids=lambda spec: type(spec).__name__
)


def members_of(count, seed):
    genotypes = LANDSCAPE.space.sample(count, np.random.default_rng(seed))
    params = np.log(LANDSCAPE.cheap(genotypes)["params"])
    return Members(LANDSCAPE.space, genotypes, params[:, None])


def values_of(members):
    return LANDSCAPE.loss(members.genotypes)


TRAIN, TEST = members_of(96, 0), members_of(300, 1)


@every_predictor
def test_it_is_a_frozen_predictor(predictor):
    assert isinstance(predictor, Predictor)
    assert predictor == dataclasses.replace(predictor)
    with pytest.raises(dataclasses.FrozenInstanceError):
        predictor.seed = 3


@every_predictor
def test_it_ranks_members_it_did_not_learn_from(predictor):
    fitted = predictor.fit(TRAIN, values_of(TRAIN))
    assert isinstance(fitted, Fitted)
    scores = Scores.of(fitted.predict(TEST), values_of(TEST), top=10)
    assert scores.kendall_tau > 0.6
    assert scores.mape_percent < 1.5
    assert 0.45 < scores.within_1_std < 0.9
    assert scores.within_2_std > 0.85


@every_predictor
def test_fitting_again_gives_the_same(predictor):
    first, again = (predictor.fit(TRAIN, values_of(TRAIN)) for _ in range(2))
    first, again = first.predict(TEST), again.predict(TEST)
    assert (first.mean == again.mean).all()
    assert (first.std == again.std).all()


@every_predictor
def test_the_unit_of_values_carries_over(predictor):
    plain = predictor.fit(TRAIN, values_of(TRAIN)).predict(TEST)
    other = predictor.fit(TRAIN, 5 + 1000 * values_of(TRAIN)).predict(TEST)
    np.testing.assert_allclose(other.mean, 5 + 1000 * plain.mean, rtol=1e-3)
    np.testing.assert_allclose(other.std, 1000 * plain.std, rtol=0.05)


@every_predictor
def test_equal_values_are_predicted_equal(predictor):
    prediction = predictor.fit(TRAIN, np.full(len(TRAIN), 3.0)).predict(TEST)
    np.testing.assert_allclose(prediction.mean, 3.0, atol=0.05)
    assert (prediction.std >= 0).all()


@every_predictor
def test_two_members_are_enough_to_start_with(predictor):
    prediction = predictor.fit(
        TRAIN.take(np.arange(2)), np.asarray([1.0, 2.0])
    ).predict(TEST)
    assert np.isfinite(prediction.mean).all()
    assert np.isfinite(prediction.std).all()


@every_predictor
def test_what_cannot_be_learnt_is_refused(predictor):
    for count, values, message in (
        (1, np.ones(1), "at least 2 members, got 1"),
        (3, np.ones(2), "2 values for 3 members"),
        (2, np.asarray([1.0, np.inf]), "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.fit(TRAIN.take(np.arange(count)), values)


@every_predictor
def test_other_columns_than_it_learnt_from_are_refused(predictor):
    fitted = predictor.fit(TRAIN, values_of(TRAIN))
    with pytest.raises(ValueError, match="learnt from 1 columns, got 0"):
        fitted.predict(Members(LANDSCAPE.space, TEST.genotypes))


@pytest.mark.parametrize(
    "predictor", [Ridge(), GaussianProcess(), SMALL], ids=lambda s: type(s).__name__
)
def test_it_is_less_sure_where_it_has_not_been(predictor):
    space = LANDSCAPE.space
    widths = space.values(TRAIN.genotypes, "width")
    seen = Members(space, TRAIN.genotypes[widths < 96])
    fitted = predictor.fit(seen, values_of(seen))
    near, far = (
        fitted.predict(Members(space, TEST.genotypes[chosen])).std.mean()
        for wide in (False, True)
        for chosen in [(space.values(TEST.genotypes, "width") == 96) == wide]
    )
    assert far > near


def test_ridge_chooses_the_strength_that_leaves_one_out_best():
    fitted = Ridge().fit(TRAIN, values_of(TRAIN))
    rows = np.arange(len(TRAIN))

    def loss(strength):
        spec = Ridge(strength=strength)
        errors = []
        for row in rows[::4]:
            rest = rows[rows != row]
            left = spec.fit(TRAIN.take(rest), values_of(TRAIN)[rest])
            errors.append(left.predict(TRAIN.take(rows[[row]])).mean[0])
        return np.square(errors - values_of(TRAIN)[::4]).mean()

    assert loss(fitted.strength) < loss(100 * fitted.strength)
    assert loss(fitted.strength) < 1.2 * loss(fitted.strength / 10)


def test_a_gaussian_process_repeats_what_has_no_noise():
    quiet = Landscape(noise=0.0)
    values = quiet.loss(TRAIN.genotypes)
    fitted = GaussianProcess().fit(TRAIN, values)
    np.testing.assert_allclose(fitted.predict(TRAIN).mean, values, atol=2e-3)
    assert kendall_tau(fitted.predict(TEST).mean, quiet.loss(TEST.genotypes)) > 0.9


def test_the_gradient_of_the_evidence_is_that_of_differences():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 10, 4))
    squares = [((f[:, None] - f) ** 2).sum(2) for f in features]
    matches = [f @ f.T for f in features[:2]]
    wanted, start = rng.normal(size=10), rng.normal(size=7)
    _, slope = evidence(matches, squares, start, wanted)
    numeric = scipy.optimize.approx_fprime(
        start, lambda p: evidence(matches, squares, p, wanted)[0], 1e-7
    )
    np.testing.assert_allclose(slope, numeric, atol=1e-5)


def test_the_better_candidate_is_chosen():
    rng = np.random.default_rng(0)
    noise = Members(LANDSCAPE.space, TRAIN.genotypes, rng.normal(size=(96, 1)))
    blind = BestOf(candidates=(Combination(), Ridge()))
    assert blind.best(noise, values_of(TRAIN)) == Ridge()
    told = Members(LANDSCAPE.space, TRAIN.genotypes, rng.normal(size=(96, 1)))
    assert blind.best(told, told.extra[:, 0]) == Combination()


def test_a_combination_without_columns_says_what_to_do():
    with pytest.raises(ValueError, match="name cheap metrics"):
        Combination().fit(Members(LANDSCAPE.space, TRAIN.genotypes), values_of(TRAIN))


def test_a_scale_of_rounding_errors_is_none():
    assert Standard.of(np.full(7, 0.1 + 0.2)).deviation == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ridge(strength=0.0), "strength must be positive, got 0"),
        (lambda: GaussianProcess(rows=1), "rows must be at least 2, got 1"),
        (lambda: GaussianProcess(iterations=-1), "must not be negative, got -1"),
        (lambda: Ensemble(networks=1), "networks must be at least 2, got 1"),
        (lambda: Ensemble(hidden=(8, 0)), r"hidden layers need units, got \(8, 0\)"),
        (lambda: Ensemble(learning_rate=0.0), "learning_rate must be positive"),
        (lambda: Combination(sharpness=0.0), "sharpness must be positive, got 0"),
        (lambda: BestOf(candidates=()), "at least one predictor"),
        (lambda: BestOf(folds=1), "folds must be at least 2, got 1"),
        (lambda: BestOf(seed=-1), "seed must not be negative, got -1"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
