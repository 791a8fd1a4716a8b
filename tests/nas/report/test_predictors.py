"""Predictors in the report: a table, a figure of the best, and what is said of few."""

import re

import pytest

from nas.report import PredictorScore, PredictorTest, drawing, figures
from nas.report.page import render
from nas.report.predictors import predictors_title
from nas.report.words import MISSING
from tests.nas.report.samples import bare_report

VALUES = (2.1, 2.3, 2.2, 2.5)
TEST = PredictorTest(
    score="loss",
    architectures=20,
    needed=16,
    learnt_from=16,
    top=1,
    values=VALUES,
    scores=(
        PredictorScore(
            name="Ridge",
            sees="genes",
            kendall_tau=0.667,
            top_regret=0.1,
            mean_error=0.05,
            predicted=(2.2, 2.3, 2.1, 2.6),
        ),
        PredictorScore(
            name="Ensemble",
            sees="genes and proxies",
            kendall_tau=1.0,
            top_regret=0.0,
            mean_error=0.0375,
            predicted=(2.15, 2.33, 2.23, 2.54),
        ),
        PredictorScore(
            name="proxy_synflow", sees="", kendall_tau=-0.333, top_regret=0.4
        ),
        PredictorScore(name="params", sees="", kendall_tau=None, top_regret=0.2),
    ),
)


def test_the_page_has_a_row_for_every_predictor():
    page = render(bare_report(predictors=TEST, loss_unit="bits per byte"))
    (section,) = re.findall(r'<section id="predictors">.*?</section>', page, re.S)
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", section)
    cells = {name: re.findall(r"<td>(.*?)</td>", row) for name, row in rows}
    assert cells == {
        "Ridge (genes)": ["0.67", "0.100", "0.050"],
        "Ensemble (genes and proxies)": ["1.00", "0.000", "0.037"],
        "proxy_synflow": ["-0.33", "0.400", MISSING],
        "params": [MISSING, "0.200", MISSING],
    }
    assert section.count("bits per byte</small>") == 2
    assert "Learnt from 16 of the evaluated subnets" in section
    assert "compared on 4 others" in section
    assert section.count('<svg class="plot"') == 2


def test_the_figure_shows_the_best_predictor_against_the_truth():
    data = bare_report(predictors=TEST)
    assert TEST.best.name == "Ensemble"
    figure = figures.predictors_figure(data)
    (axes,) = figure.axes
    points = axes.lines[-1]
    assert tuple(points.get_xdata()) == VALUES
    assert tuple(points.get_ydata()) == TEST.scores[1].predicted
    assert figure.get_label() == ("Ensemble (genes and proxies) orders best: τ 1.00")
    assert drawing.to_svg(figure, "predictors", "what").startswith("<svg")
    assert predictors_title(data, short=True) == "Ensemble: Kendall τ 1.00"


def test_too_few_architectures_are_said_instead():
    few = PredictorTest(score="loss", architectures=12, needed=16, learnt_from=6)
    page = render(bare_report(predictors=few))
    assert "12 evaluated subnets are too few" in page
    assert "that takes 16" in page
    assert "Kendall" not in page


def test_without_an_order_there_is_a_table_and_no_figure():
    none = PredictorTest(
        score="error",
        architectures=20,
        needed=16,
        learnt_from=10,
        top=1,
        values=(0.5, 0.5),
        scores=(
            PredictorScore(
                name="Ridge",
                sees="genes",
                kendall_tau=None,
                top_regret=0.0,
                mean_error=0.0,
                predicted=(0.5, 0.5),
            ),
        ),
    )
    data = bare_report(predictors=none)
    assert 'id="predictors"' in render(data)
    assert "<svg" not in render(data)
    assert predictors_title(data) == "No predictor has an order"
    with pytest.raises(ValueError, match="no predictions"):
        figures.predictors_figure(data)


def test_a_report_without_a_test_says_nothing_of_it():
    assert 'id="predictors"' not in render(bare_report())
