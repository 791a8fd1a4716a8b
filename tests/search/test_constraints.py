"""Bounds: reading, writing, resolving and exceeding them."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.constraints import Bound, InfeasibleError
from search.space import Architecture

limits = st.floats(1e-300, 1e300)
ARCH = Architecture((0, 1), (("width", 64),), ())


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("latency_ms <= 5", Bound("latency_ms", 5.0)),
        ("latency_ms<=60%", Bound("latency_ms", 60.0, percent=True)),
        ("  params  <=  1.5e6 ", Bound("params", 1.5e6)),
        ("accuracy >= .9", Bound("accuracy", 0.9, at_least=True)),
        ("accuracy>=90 %", Bound("accuracy", 90.0, percent=True, at_least=True)),
    ],
)
def test_bounds_are_read(text, bound):
    assert Bound.parse(text) == bound


@given(limits, st.booleans(), st.booleans())
def test_bounds_are_written_as_they_are_read(limit, percent, at_least):
    bound = Bound("latency_ms", limit, percent, at_least)
    assert Bound.parse(str(bound)) == bound


def test_whole_limits_are_written_without_a_point():
    assert str(Bound("latency_ms", 5.0)) == "latency_ms <= 5"
    assert str(Bound.parse("a>=12.5%")) == "a >= 12.5%"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty constraint"),
        ("  ", "empty constraint"),
        ("latency_ms", "no single '<=' or '>='"),
        ("1 <= latency_ms <= 5", "no single"),
        ("latency_ms < 5", "unknown operator '<'"),
        ("latency_ms == 5", "unknown operator '=='"),
        ("latency_ms =< 5", "unknown operator '=<'"),
        ("latency_ms <=", "has no number"),
        ("latency_ms <= %", "has no number"),
        ("latency_ms <= fast", "'fast' is not a number"),
        ("latency_ms <= 5 ms", "'5 ms' is not a number"),
        ("<= 5", "not a metric name"),
        ("latency ms <= 5", "not a metric name"),
        ("latency_ms <= 0", "greater than 0"),
        ("latency_ms <= -1", "greater than 0"),
        ("latency_ms <= inf", "must be finite"),
        ("latency_ms <= nan", "must be finite"),
        ("latency_ms <= 1e999", "must be finite"),
    ],
)
def test_anything_else_is_refused_with_an_example(text, message):
    with pytest.raises(ValueError, match=rf"{message}.*write for example"):
        Bound.parse(text)


def test_percentages_are_of_the_largest_subnet():
    assert Bound.parse("params <= 25%").resolve(8.0) == Bound("params", 2.0)
    absolute = Bound("params", 3.0)
    assert absolute.resolve(8.0) is absolute
    lower = Bound.parse("accuracy >= 50%").resolve(0.8)
    assert lower == Bound("accuracy", 0.4, at_least=True)
    for value in (0.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="needs the largest subnet's params"):
            Bound.parse("params <= 25%").resolve(float(value))
    with pytest.raises(ValueError, match="resolve it first"):
        Bound.parse("params <= 25%").excess(np.ones(1))


def test_excess_is_relative_to_the_limit():
    values = np.asarray([1.0, 4.0, 5.0, 10.0, np.nan])
    assert Bound("a", 4.0).excess(values).tolist() == [0, 0, 0.25, 1.5, np.inf]
    lower = Bound("a", 4.0, at_least=True)
    assert lower.excess(values).tolist() == [0.75, 0, 0, 0, np.inf]


@given(limits)
def test_the_limit_itself_is_allowed_and_the_next_number_is_not(limit):
    around = np.asarray([np.nextafter(limit, 0), limit, np.nextafter(limit, np.inf)])
    assert (Bound("a", limit).excess(around) > 0).tolist() == [False, False, True]
    lower = Bound("a", limit, at_least=True)
    assert (lower.excess(around) > 0).tolist() == [True, False, False]


@given(limits, st.booleans())
def test_the_advice_of_an_infeasible_bound_is_enough(value, at_least):
    error = InfeasibleError(Bound("latency_ms", 1.0, at_least=at_least), ARCH, value)
    enough = float(str(error).rsplit(" ", 1)[1])
    assert enough <= value if at_least else enough >= value
    # One unit of the sixth digit, which floats round too.
    assert enough == pytest.approx(value, rel=1.0001e-5)


def test_an_infeasible_bound_says_what_is_nearest_and_what_to_do():
    error = InfeasibleError(Bound.parse("latency_ms <= 5"), ARCH, 7.25)
    assert str(error) == (
        "no architecture satisfies 'latency_ms <= 5': the nearest, "
        '{"layers": [0, 1], "width": 64}, has latency_ms 7.25; '
        "raise the limit to at least 7.25"
    )
    again = pickle.loads(pickle.dumps(error))
    assert (again.bound, again.nearest, again.value) == (error.bound, ARCH, 7.25)
    assert str(again) == str(error)
