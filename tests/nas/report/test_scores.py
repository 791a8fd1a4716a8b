"""A report of what was searched for: an error, or one for each task."""

import dataclasses

import pytest

from nas.report import words
from nas.report.front import front_title
from nas.report.page import render
from tests.nas.report.samples import report_data
from tests.variants import mainly

SHOWN = ("error_digit", "error_corner")


def told_by_errors(shown=SHOWN, **changes):
    """The sample report as of errors: tenths of what its losses are."""

    def metrics(member):
        told = dict(member.metrics)
        for name in shown:
            told[name] = told["loss"] / 10
            told[f"test_{name}"] = told["test_loss"] / 10
        return dataclasses.replace(member, metrics=told)

    def known(extreme):
        if extreme.known is None:
            return extreme
        score = extreme.known.score / 10
        return dataclasses.replace(extreme, known=extreme.known._replace(score=score))

    data = report_data(**changes)
    return dataclasses.replace(
        data,
        shown=shown,
        front=tuple(map(metrics, data.front)),
        extremes=tuple(map(known, data.extremes)),
        archive=tuple(
            dataclasses.replace(point, score=point.score / 10) for point in data.archive
        ),
    )


def test_scores_are_named_with_their_tasks_and_units():
    data = report_data(loss_unit="nats per image")
    assert words.score(data, "loss") == ("Loss", "nats per image")
    assert words.score(data, "loss_digit") == ("Loss of digit", "nats per image")
    assert words.score(data, "error_digit") == ("Error of digit", "")
    assert words.quantity(data, "loss_digit") == "Loss of digit (nats per image)"
    assert words.quantity(data, "error") == "Error"


def test_the_result_is_told_by_the_first_score_that_was_searched_for():
    data = told_by_errors()
    assert words.result(data).startswith(
        "12 subnets from 0.62 to 2.24 ms and from 0.279 to 0.241 error of digit;"
    )
    detail = words.detail(data)
    assert "3.0 % more error of digit than the largest network" in detail
    assert "On test data: 0.28" in detail
    alone = words.result(told_by_errors(("error",)))
    assert " and from 0.279 to 0.241 error;" in alone


@pytest.mark.parametrize("shown", mainly(SHOWN, ("error",)))
def test_the_page_has_a_column_for_each_score_on_either_data(shown):
    data = told_by_errors(shown)
    page = render(data)
    for name in shown:
        title = words.score(data, name)[0].lower()
        assert f"Test {title}" in page
        assert f"Search {title}" in page
        for member in data.front:
            assert f'data-sort="{member.metrics[f"test_{name}"]:.9g}"' in page
    assert "Search loss" not in page
    first = words.score(data, shown[0])[0]
    assert front_title(data).startswith(f"{first} against latency")
    assert f"{first}, lower is better" in page
    # Training is still told by its loss.
    assert "Loss (bits per byte)" in page
