"""How the learning rate goes over a run."""

import typing

import jax
import numpy as np
import pytest

from supernets.optimizers.schedules import (
    Constant,
    Cosine,
    Linear,
    Schedule,
    WarmupStableDecay,
)

SCHEDULES = typing.get_args(Schedule)
PEAK = 0.5


def rates(schedule, steps):
    with jax.numpy_dtype_promotion("standard"):
        rate = schedule.rates(PEAK, steps)
        return np.asarray([float(rate(step)) for step in range(steps)])


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("steps", [2, 10])
def test_rates_rise_to_the_peak_and_do_not_rise_again(kind, warmup, steps):
    found = rates(kind(warmup=warmup), steps)
    peak = int(found.argmax())
    assert found[0] == 0
    assert found[peak] == pytest.approx(PEAK, rel=1e-5)
    assert peak == min(max(1, round(warmup * steps)), steps - 1)
    assert (np.diff(found[: peak + 1]) > 0).all()
    assert (np.diff(found[peak:]) <= 0).all()


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_run_of_one_step_has_a_schedule(kind):
    assert np.isfinite(rates(kind(), 1)).all()


@pytest.mark.parametrize("kind", [Cosine, Linear, WarmupStableDecay])
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_rates_end_at_the_floor(kind, floor):
    with jax.numpy_dtype_promotion("standard"):
        rate = kind(floor=floor).rates(PEAK, 50)
        assert float(rate(50)) == pytest.approx(floor * PEAK, abs=1e-6)
        assert float(rate(49)) > floor * PEAK


def test_a_line_falls_by_the_same_in_each_step():
    falls = -np.diff(rates(Linear(warmup=0.2, floor=0.2), 20)[4:])
    np.testing.assert_allclose(falls, PEAK * 0.8 / 16, rtol=1e-4)


def test_the_stable_part_lasts_until_the_decay():
    found = rates(WarmupStableDecay(warmup=0.2, decay=0.25), 20)
    np.testing.assert_allclose(found[4:16], PEAK)
    np.testing.assert_allclose(found[16:], PEAK * np.asarray([0.8, 0.6, 0.4, 0.2]))


def test_a_constant_rate_stays():
    np.testing.assert_allclose(rates(Constant(warmup=0.2), 20)[4:], PEAK)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(warmup=-0.1), r"warmup must lie in 0\.\.1, got -0.1"),
        (lambda: Cosine(floor=1.1), r"floor must lie in 0\.\.1, got 1.1"),
        (lambda: Linear(warmup=float("nan")), r"warmup must lie in 0\.\.1, got nan"),
        (lambda: Constant(warmup=2.0), r"warmup must lie in 0\.\.1, got 2.0"),
        (lambda: WarmupStableDecay(decay=-1.0), r"decay must lie in 0\.\.1"),
        (
            lambda: WarmupStableDecay(warmup=0.6, decay=0.5),
            "add up to at most 1, got 0.6 and 0.5",
        ),
    ],
)
def test_shares_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
