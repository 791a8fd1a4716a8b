"""The figure of the training: every role and size can be told from the others."""

import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from nas.report import Curve, PhaseMark, ReportData, drawing, figures
from nas.report.drawing import LIGHT, PALETTE, SHADES

STEPS = tuple(range(0, 1001, 10))
COSTS = {"smallest": 4.1e5, "700 k MACs": 7e5, "middle": 1.2e6, "largest": 6.1e6}
PHASES = (
    PhaseMark(0, "LargestOnly: largest alone"),
    PhaseMark(400, "Sandwich: ffn open"),
    PhaseMark(700, "+ heads"),
)


def curve(label, end, cost=None, steps=STEPS):
    values = tuple(end + 5 * math.exp(-step / 100) for step in steps)
    return Curve(label=label, steps=steps, values=values, cost=cost)


def roles(*labels):
    return tuple(curve(label, 2 + 0.1 * row) for row, label in enumerate(labels))


def panel():
    return tuple(
        curve(label, 3 - 0.2 * row, cost)
        for row, (label, cost) in enumerate(COSTS.items())
    )


def data(**fields):
    return ReportData(
        title="", command="", created="", facts={}, space_size="", **fields
    )


def drawn(axes):
    """Returns the colour and dash of each line that has a name, by name."""
    names = {text.get_text(): text.get_color() for text in axes.texts}
    lines = [
        (line.get_color(), line.get_linestyle(), line._dash_pattern)
        for line in axes.lines
        if line.get_alpha() is None and line.get_linewidth() >= 1.2
    ]
    return names, lines


def luminance(colour):
    parts = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in to_rgb(colour)
    ]
    return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_twelve_roles_are_named_and_look_different():
    labels = ["largest", "smallest", "sampled", *(f"ffn {64 * k}" for k in range(9))]
    (axes,) = figures.training_figure(data(training=roles(*labels))).axes
    names, lines = drawn(axes)
    assert set(names) == set(labels)
    assert len(set(map(str, lines))) == len(lines) == 12


def test_of_more_roles_the_rest_is_drawn_and_counted():
    labels = [f"exit {number}" for number in range(20)]
    (axes,) = figures.training_figure(data(training=roles(*labels))).axes
    names, lines = drawn(axes)
    assert set(names) == {*labels[:12], "8 more"}
    assert len(lines) == 12
    assert len(axes.lines) == 20


def test_well_known_roles_keep_their_colours():
    for labels in itertools.permutations(("largest", "sampled", "smallest", "exit 1")):
        (axes,) = figures.training_figure(data(training=roles(*labels))).axes
        names, _ = drawn(axes)
        assert names["largest"] == LIGHT["teal"]
        assert names["smallest"] == LIGHT["amber"]
        assert names["sampled"] == LIGHT["baseline"]
        assert len(set(names.values())) == 4


def test_names_of_many_roles_do_not_touch():
    labels = [f"ffn {64 * number}" for number in range(12)]
    training = tuple(curve(label, 2.0) for label in labels)
    figure = figures.training_figure(data(training=training), size=(960, 380))
    drawing.to_png(figure)
    boxes = sorted(
        # Without the lines that join names to their ends.
        (Text.get_window_extent(text) for text in figure.axes[0].texts),
        key=lambda box: box.y0,
    )
    assert len(boxes) == 12
    for below, above in itertools.pairwise(boxes):
        assert above.y0 > below.y1


def test_a_role_that_ends_early_is_named_where_it_ends():
    early = curve("sampled", 2.0, steps=tuple(range(0, 500, 10)))
    (axes,) = figures.training_figure(data(training=(early, *roles("largest")))).axes
    places = {text.get_text(): text.xy for text in axes.texts}
    assert places["sampled"][0] == 490
    assert places["largest"][0] == 1


def test_a_line_is_broken_where_a_role_was_not_trained():
    steps = (*range(0, 200, 10), *range(800, 1001, 10))
    (axes,) = figures.training_figure(
        data(training=(curve("sampled", 2.0, steps=steps),))
    ).axes
    for line in axes.lines:
        assert np.diff(line.get_xdata()).max() == 10


def test_subnets_are_coloured_by_cost_on_a_scale_with_a_unit():
    figure = figures.training_figure(data(validation=panel()))
    (axes,) = figure.axes
    names, lines = drawn(axes)
    assert set(names) == {"smallest", "700 k", "middle", "largest"}
    order = [colour for colour, *_ in lines]
    shades = [LIGHT[f"cost-{shade}"] for shade in range(SHADES)]
    ranks = [shades.index(colour) for colour in order]
    assert ranks == sorted(ranks)
    assert (ranks[0], ranks[-1]) == (0, SHADES - 1)
    (key,) = axes.child_axes
    assert key.get_xscale() == "log"
    ticks = [text.get_text() for text in key.get_xticklabels()]
    assert (ticks[0], ticks[-1]) == ("410 k", "6.10 M")
    assert "MACs of one input" in {text.get_text() for text in key.texts}


def test_subnets_of_one_cost_are_drawn():
    validation = tuple(curve(label, 2.0, 1e6) for label in ("smallest", "largest"))
    figure = figures.training_figure(data(validation=validation))
    assert b"PNG" in drawing.to_png(figure)


def test_without_costs_subnets_are_told_by_name():
    validation = roles("largest", "middle", "smallest")
    (axes,) = figures.training_figure(data(validation=validation)).axes
    assert {text.get_text() for text in axes.texts} == {"largest", "middle", "smallest"}
    assert axes.child_axes == []


@pytest.mark.parametrize(("paper", "theme"), [("#ffffff", 0), ("#12151a", 1)])
def test_the_scale_of_costs_goes_away_from_the_paper_evenly(paper, theme):
    scale = [PALETTE[f"cost-{shade}"][theme] for shade in range(SHADES)]
    contrasts = [contrast(colour, paper) for colour in scale]
    assert contrasts == sorted(contrasts)
    assert contrasts[0] > 2.5
    assert len(set(scale)) == SHADES
    assert not set(scale) & {
        pair[theme] for name, pair in PALETTE.items() if not name.startswith("cost-")
    }


def test_phases_are_marked_in_both_panels_and_named_in_the_first():
    figure = figures.training_figure(
        data(training=roles("largest"), validation=panel(), phases=PHASES)
    )
    first, second = figure.axes
    said = {text.get_text() for text in first.texts}
    assert {"1  LargestOnly: largest alone", "2  Sandwich: ffn open"} <= said
    assert {"1", "2", "3"} <= {text.get_text() for text in second.texts}
    for axes in (first, second):
        marks = {
            line.get_xdata()[0]
            for line in axes.lines
            if len(set(line.get_xdata())) == 1
        }
        assert marks == {400, 700}


def test_averages_end_where_a_phase_begins():
    steps = tuple(range(10, 1001, 10))
    values = tuple(3.0 if step <= 400 else 4.0 for step in steps)
    training = (Curve(label="smallest", steps=steps, values=values),)
    (axes,) = figures.training_figure(data(training=training, phases=PHASES)).axes
    (line,) = [line for line in axes.lines if line.get_linewidth() >= 1.2]
    np.testing.assert_array_equal(line.get_ydata(), values)


def test_phases_after_the_last_step_so_far_are_left_out():
    training = (curve("largest", 2.0, steps=tuple(range(0, 501, 10))),)
    (axes,) = figures.training_figure(data(training=training, phases=PHASES)).axes
    said = " ".join(text.get_text() for text in axes.texts)
    assert "ffn" in said
    assert "heads" not in said


def test_one_validation_is_a_visible_point():
    validation = (Curve(label="largest", steps=(0,), values=(8.0,), cost=1e6),)
    (axes,) = figures.training_figure(data(validation=validation)).axes
    assert axes.lines[0].get_marker() == "o"


@given(
    wanted=st.lists(st.floats(0, 10), max_size=12),
    gap=st.floats(0.1, 0.8),
)
def test_names_keep_their_distance_order_and_range(wanted, gap):
    places = drawing.apart(sorted(wanted), gap, 0.0, 10.0)
    assert len(places) == len(wanted)
    for low, high in itertools.pairwise(places):
        assert high - low >= gap * (1 - 1e-9)
    assert all(-1e-9 <= place <= 10 + 1e-9 for place in places)


def test_names_with_room_stay_where_they_are():
    assert drawing.apart([1.0, 3.0, 7.0], 1.0, 0.0, 9.0) == [1.0, 3.0, 7.0]


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(drawing).failed == 0
