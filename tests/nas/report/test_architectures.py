"""The figure of the front's architectures: what layers keep, and which do not run."""

import dataclasses
import math

import numpy as np
import pytest

from nas.report import Axis, figures
from nas.report.architectures import height_of, panels_of
from nas.report.drawing import NARROW
from tests.nas.report.samples import bare_report, precise_report, report_data


def with_front(*archs):
    """The sample report with members of these architectures."""
    data = report_data(members=len(archs))
    front = tuple(
        dataclasses.replace(member, arch=arch)
        for member, arch in zip(data.front, archs, strict=True)
    )
    return dataclasses.replace(data, front=front)


def panel(data, name):
    return next(panel for panel in panels_of(data) if panel.name == name)


def test_layers_are_coloured_by_relative_size_and_blank_where_they_do_not_run():
    data = with_front(
        {"layers": [0, 3], "width": 128, "ffn": [256, 1024], "heads": [2, 8]},
        {"layers": [0, 1, 2], "width": 256, "ffn": [512] * 3, "heads": [4] * 3},
    )
    ffn = panel(data, "ffn")
    nan = math.nan
    expected = [[0.25, nan, nan, 1.0, nan, nan], [0.5, 0.5, 0.5, nan, nan, nan]]
    np.testing.assert_array_equal(ffn.sizes, expected)
    assert ffn.texts[0] == ["256", "", "", "1024", "", ""]
    width = panel(data, "width")
    assert (width.sizes.tolist(), width.layered) == ([[0.5], [1.0]], False)
    assert [panel.name for panel in panels_of(data)] == ["width", "ffn", "heads"]


def test_values_that_are_no_numbers_are_ranked():
    data = with_front({"layers": [0], "norm": "layer"}, {"layers": [0], "norm": "rms"})
    norm = Axis(name="norm", values=("none", "layer", "rms"), scope="global")
    data = dataclasses.replace(data, axes=(norm,))
    assert panel(data, "norm").sizes.tolist() == [[2 / 3], [1.0]]


def test_bits_are_ranked_so_that_few_of_them_look_different_beside_16():
    data = precise_report()
    bits = panel(data, "weight bits, by rank")
    row = data.front[0].arch["weight_bits"]
    assert bits.texts[0][: len(row)] == [str(value) for value in row] == ["2", "3"]
    assert bits.sizes[0, :2].tolist() == [1 / 6, 2 / 6]
    figure = figures.architectures_figure(data, size=(960, height_of(data)))
    shown = {axes.get_title(): axes for axes in figure.axes}
    written = {text.get_text() for text in shown["weight bits, by rank"].texts}
    # Cells are too narrow for 1024, but not for these.
    assert not shown["ffn"].texts
    assert {"2", "3", "4"} <= written


def test_axes_without_a_choice_are_left_out_unless_all_are():
    data = report_data()
    fixed = Axis(name="width", values=(256,), scope="global")
    ffn = next(axis for axis in data.axes if axis.name == "ffn")
    some = dataclasses.replace(data, axes=(fixed, ffn))
    assert [panel.name for panel in panels_of(some)] == ["ffn"]
    alone = dataclasses.replace(data, axes=(fixed,))
    assert [panel.name for panel in panels_of(alone)] == ["width"]


def test_rows_tell_what_the_front_is_drawn_against():
    data = precise_report("bops", 3.1e9)
    figure = figures.architectures_figure(data, size=(960, height_of(data)))
    rows = figure.axes[0]
    assert rows.get_ylabel() == "Subnet of the front, fewest bit operations first"
    assert rows.get_yticklabels()[0].get_text().endswith("1.92 G")


def test_every_row_is_a_subnet_with_its_latency():
    data = report_data()
    figure = figures.architectures_figure(data, size=(960, height_of(data)))
    (names,) = [
        [label.get_text() for label in axes.get_yticklabels()]
        for axes in figure.axes
        if axes.get_ylabel() == "Subnet of the front, fastest first"
    ]
    assert len(names) == len(data.front)
    assert names[0].startswith("1")
    assert names[0].endswith(f"{data.front[0].metrics['latency_ms']:.2f} ms")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["all layers", "Layer", "Layer"]
    written = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"256", "1024", "8"} <= written
    assert figure.subfigs[0].get_label() == "What each subnet keeps, layer by layer"


def test_a_narrow_figure_has_layers_below_each_other():
    data = report_data()
    size = (NARROW[0], height_of(data, narrow=True))
    figure = figures.architectures_figure(data, size=size)
    assert [axes.get_title() for axes in figure.axes] == ["ffn", "heads"]
    assert size[1] > height_of(data)


def test_a_long_front_stays_on_a_page():
    assert height_of(report_data(members=60)) < 700
    assert height_of(report_data(members=1)) < 160


def test_without_a_front_or_axes_there_is_nothing_to_draw():
    assert panels_of(report_data(axes=())) == []
    for data in (bare_report(), report_data(axes=())):
        with pytest.raises(ValueError, match="nothing to draw"):
            figures.architectures_figure(data)
