"""What a person sees of a search."""

import io

import pytest
from rich.console import Console

from nas import search_display as module
from nas.search_display import Standing, duration, search_display
from search.campaign import Progress
from search.workers import Crew

WELL = Crew(count=2, alive=2, restarts=0)


def generation(number, evaluations, campaign="Nsga2", **best):
    return Progress(campaign, number, evaluations, 64, best, evaluations / 100)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets; everything starts at 0 s."""
    seconds = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])

    def turn(now):
        seconds[0] = now

    return turn


def shown(clock, events, *, terminal=False, campaigns=(("Nsga2", 64),)):
    """Returns what is written when each event is told at its second."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=140)
    with search_display(console, campaigns) as show:
        for seconds, latest, crew in events:
            clock(seconds)
            show(latest, crew)
    return stream.getvalue()


def test_a_plain_line_tells_everything_that_is_known(clock):
    told = shown(
        clock,
        [
            (1.0, generation(1, 16, loss=2.5, latency_ms=1.0), WELL),
            (3.0, generation(2, 64, loss=2.25, latency_ms=0.875), WELL),
        ],
    )
    assert told == (
        "search: Nsga2, 64/64 subnets, best loss 2.25, latency_ms 0.875, hypervolume "
        "0.6400, 24 per second, evaluators 2, 0 s left\n"
    )


def test_plain_lines_are_far_apart_unless_an_evaluator_is_lost_or_back(clock):
    lost = Crew(count=2, alive=1, restarts=0)
    back = Crew(count=2, alive=2, restarts=1)
    told = shown(
        clock,
        [
            (1.0, generation(1, 8), WELL),
            (2.0, generation(2, 16), lost),
            (3.0, generation(3, 24), lost),
            (4.0, generation(4, 32), back),
            (11.0, generation(5, 40), back),
            (14.5, generation(6, 48), back),
        ],
    )
    lines = told.splitlines()
    assert [line.split(", ")[1] for line in lines] == [
        "16/64 subnets",
        "32/64 subnets",
        "48/64 subnets",
    ]
    assert "evaluators 1/2," in lines[0]
    assert "evaluators 2 (1 restarted)," in lines[1]


def test_campaigns_are_told_apart(clock):
    told = shown(
        clock,
        [
            (20.0, generation(1, 8), WELL),
            (21.0, generation(1, 8, "Random"), WELL),
        ],
        campaigns=(("Nsga2", 64), ("Random", 64)),
    )
    assert [line.split(",")[0] for line in told.splitlines()] == [
        "search: Nsga2",
        "search: Random",
    ]


def test_a_terminal_gets_a_table_with_a_row_for_each_campaign(clock):
    told = shown(
        clock,
        [(2.0, generation(1, 16, loss=2.5), WELL)],
        terminal=True,
        campaigns=(("Nsga2", 64), ("Random", 64)),
    )
    last = told.rpartition("hypervolume")[2]
    assert "\x1b[" in told
    assert "16/64" in last
    assert "loss 2.5" in last
    assert "Random" in last
    assert "0/64" in last


def test_rate_and_time_left_are_those_of_late(clock):
    standing = Standing("Nsga2", 64)
    assert (standing.rate, standing.left) == (None, None)
    for number in range(1, 12):
        # A slow first generation, which compiles, is soon forgotten.
        clock(100.0 + number if number > 1 else 0.0)
        standing.note(generation(number, 4 * number), WELL)
    assert standing.rate == 4.0
    assert standing.left == 5.0


def test_a_campaign_that_begins_again_is_not_thought_to_go_backwards(clock):
    standing = Standing("Nsga2", 64)
    for seconds, number in ((1.0, 1), (2.0, 2), (50.0, 1), (50.5, 2)):
        clock(seconds)
        standing.note(generation(number, 8 * number), WELL)
    assert standing.rate == 16.0


def test_nothing_to_show_is_shown(clock):
    assert shown(clock, []) == ""
    assert shown(clock, [], terminal=True, campaigns=()) != ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (125.0, "2 min 05 s"), (7500.0, "2 h 05 min")],
)
def test_times_are_told_in_words(seconds, words):
    assert duration(seconds) == words
