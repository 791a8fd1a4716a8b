"""The figures of search and latency: titles that say it, axes with units."""

import dataclasses

import pytest

from nas.report import (
    Campaign,
    Evaluated,
    drawing,
    figures,
)
from tests.nas.report.samples import HUGE, bare_report, precise_report, report_data


@pytest.mark.parametrize(
    "draw",
    [
        figures.front_figure,
        figures.training_figure,
        figures.search_figure,
        figures.latency_figure,
    ],
)
def test_every_axis_is_labelled_and_has_numbers(draw):
    figure = draw(report_data())
    assert figure.axes
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert len(axes.get_xticks()) > 2
    titles = [part.get_label() for part in (figure, *figure.subfigs)]
    assert any(titles)


def test_figures_name_units_and_lines():
    data = report_data()
    front = figures.front_figure(data).axes[0]
    assert "(ms)" in front.get_xlabel()
    assert front.get_ylabel() == "Loss (bits per byte), lower is better"
    texts = {text.get_text() for text in front.texts}
    assert {str(number) for number in range(1, 13)} <= texts
    assert {"smallest", "largest", "excluded:\nover 2.31 ms"} <= texts
    training, validation = figures.training_figure(data).axes
    assert {t.get_text() for t in training.texts} == {"largest", "smallest", "sampled"}
    assert {t.get_text() for t in validation.texts} == {"largest", "middle", "smallest"}
    search = figures.search_figure(data).axes[0]
    assert {t.get_text() for t in search.texts} == {"nsga2", "evolution", "random"}
    latency = figures.latency_figure(data).axes[0]
    assert "Kendall τ 0.96" in latency.texts[0].get_text()
    assert "(ms)" in latency.get_xlabel()
    assert "(ms)" in latency.get_ylabel()


@pytest.mark.parametrize(
    ("cost", "scale", "label", "excluded"),
    [
        ("size_mb", 1.0, "Size of the stored weights (MB)", "over 2.31 MB"),
        ("size_mb", 0.03, "Size of the stored weights (kB)", "over 69.30 kB"),
        ("bops", 3e9, "Bit operations (G)", "over 6.93 G"),
        ("params", 1e5, "Parameters (k)", "over 231.0 k"),
        ("latency_ms_phone", 9.0, "Latency on phone (ms)", "over 20.79 ms"),
        ("energy_mj", 2.0, "energy_mj", "over 4.62"),
    ],
)
def test_the_front_is_drawn_against_what_was_searched_for(cost, scale, label, excluded):
    data = precise_report(cost, scale)
    figure = figures.front_figure(data)
    (axes,) = figure.axes
    assert axes.get_xlabel() == label
    texts = {text.get_text() for text in axes.texts}
    assert {"smallest", "largest", f"excluded:\n{excluded}"} <= texts
    figure.canvas.draw()
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    largest = max(float(text.replace(",", "")) for text in ticks)
    assert 0 < largest < 1000
    stairs = next(line for line in axes.lines if len(line.get_xdata()) > 9)
    ends = [member.metrics[cost] for member in (data.front[0], data.front[-1])]
    assert [stairs.get_xdata()[0], stairs.get_xdata()[-2]] == ends
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == "front"


@pytest.mark.parametrize("shift", [-9.0, -1.0, 0.0])
def test_costs_of_ones_own_may_be_negative(shift):
    data = precise_report("gain", bound=None, archive=(), extremes=())
    front = tuple(
        dataclasses.replace(m, metrics={**m.metrics, "gain": m.metrics["gain"] + shift})
        for m in data.front
    )
    axes = figures.front_figure(dataclasses.replace(data, front=front)).axes[0]
    left, right = axes.get_xlim()
    assert all(left < member.metrics["gain"] < right for member in front)


def test_a_lone_largest_network_leaves_the_front_its_room():
    data = report_data(bound=None)
    far = dataclasses.replace(data.extremes[-1], known=HUGE._replace(cost=40.0))
    near = tuple(point for point in data.archive if point.cost < 2.3)
    data = dataclasses.replace(data, extremes=(data.extremes[0], far), archive=near)
    assert 2.3 < figures.front_figure(data).axes[0].get_xlim()[1] < 3.1


def test_title_of_the_search_compares_at_equal_evaluations():
    short = Campaign(
        name="random", algorithm="random", evaluations=(10, 20), hypervolume=(0.4, 0.5)
    )
    long = Campaign(
        name="nsga2", algorithm="nsga2", evaluations=(20, 90), hypervolume=(0.45, 0.9)
    )
    title = figures.search_title(bare_report(campaigns=(short, long)))
    assert title == "nsga2 ends 10 % below random search"


def test_far_largest_network_is_named_at_the_edge():
    data = report_data()
    far = dataclasses.replace(data.extremes[-1], known=HUGE._replace(cost=40.0))
    data = dataclasses.replace(data, extremes=(*data.extremes[:-1], far))
    axes = figures.front_figure(data).axes[0]
    assert axes.get_xlim()[1] < 6
    assert "largest: 40.0 ms, 2.35 →" in {text.get_text() for text in axes.texts}
    assert any("not in view" in text.get_text() for text in axes.texts)


def test_where_every_member_was_measured_the_latency_figure_states_no_error():
    data = report_data()
    samples = tuple(
        dataclasses.replace(s, held_out=False) for s in data.latency.samples
    )
    whole = dataclasses.replace(
        data.latency, samples=samples, error=None, kind="measured"
    )
    figure = figures.latency_figure(dataclasses.replace(data, latency=whole))
    assert figure.get_label() == "Every member was measured, none predicted"
    (axes,) = figure.axes
    assert not axes.texts
    assert "fitted" not in [text.get_text() for text in axes.get_legend().get_texts()]


def several_seeds():
    """Three campaigns of an algorithm, two of the baseline; one ends early."""
    ends = {"Nsga2": (0.6, 0.7, 0.8), "RandomSearch": (0.5, 0.6)}
    return tuple(
        Campaign(
            name=f"{algorithm} seed {seed}",
            algorithm=algorithm,
            evaluations=(10, 20) if seed == 1 else (10, 20, 30),
            hypervolume=(0.3, end) if seed == 1 else (0.3, end, end),
        )
        for algorithm, volumes in ends.items()
        for seed, end in enumerate(volumes)
    )


def test_campaigns_of_several_seeds_are_a_mean_with_its_band():
    data = bare_report(campaigns=several_seeds())
    axes = figures.search_figure(data).axes[0]
    means = {tuple(line.get_ydata().round(9).tolist()) for line in axes.lines}
    assert means == {(0.3, 0.7, 0.7, 0.7), (0.3, 0.55, 0.55, 0.55)}
    assert len(axes.collections) == 2
    top = max(box.vertices[:, 1].max() for box in axes.collections[0].get_paths())
    assert top == 0.8
    texts = {text.get_text() for text in axes.texts}
    assert {"Nsga2", "RandomSearch"} <= texts
    assert "mean of seeds;\nbands from worst to best" in texts
    title = "Nsga2 ends 27 % above random search, mean of 3 seeds"
    assert figures.search_title(data) == title


def test_a_single_campaign_has_no_band():
    assert not figures.search_figure(report_data()).axes[0].collections


def test_what_was_evaluated_goes_by_its_algorithm_too():
    point = Evaluated(
        cost=1.0, score=2.0, campaign="Nsga2 seed 9", algorithm="Nsga2", id="x"
    )
    data = bare_report(campaigns=several_seeds(), archive=(point,))
    groups = drawing.campaign_groups(data)
    assert groups["Nsga2 seed 9"] == groups["Nsga2 seed 0"] == "Nsga2"
    assert drawing.campaign_colours(data)["RandomSearch"] == drawing.LIGHT["baseline"]


def test_latency_figure_without_a_model_says_what_is_missing():
    with pytest.raises(ValueError, match="no latency model"):
        figures.latency_figure(bare_report())
