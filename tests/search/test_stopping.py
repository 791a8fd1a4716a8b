"""When campaigns end, and that a resumed one ends at the same point."""

import itertools
import math
import time

import numpy as np
import pytest

from search.archive import Archive
from search.campaign import run_campaign
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from search.stopping import Stop
from tests.search.toy import Toy

STAGNATION = Stop(evaluations=500, stagnation=3, tolerance=0.01)


class Killed(Exception):
    pass


def run(toy, archive, stop, *, evaluate=None, algorithm=None):
    return run_campaign(
        toy.problem,
        algorithm or RandomSearch(batch=8),
        evaluate or toy.evaluate,
        archive,
        name="test",
        seed=0,
        budget=stop,
        reference=np.asarray([1.0, 41.0]),
    )


def ticking(monkeypatch, seconds):
    """Makes every look at the clock take that long."""
    clock = itertools.count(step=seconds)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))


def test_evaluations_end_a_campaign_as_a_number_does():
    whole = run(Toy(), Archive(), Stop(evaluations=30))
    assert whole.reason == "evaluations"
    assert whole.evaluations == 30
    assert whole.history == run(Toy(), Archive(), 30).history


def test_an_exhausted_space_is_named_as_the_reason():
    result = run(Toy(layers=2, limit=8.0), Archive(), 500)
    assert (result.evaluations, result.reason) == (12, "exhausted")


def test_a_campaign_ends_when_its_hypervolume_no_longer_grows():
    result = run(Toy(), Archive(), STAGNATION)
    volumes = [progress.hypervolume for progress in result.history]
    grown = [volumes[i] > 1.01 * volumes[i - 3] for i in range(3, len(volumes))]
    assert result.reason == "stagnation"
    assert grown == [True] * (len(grown) - 1) + [False]
    assert 4 * 8 < result.evaluations < 200


def test_the_tolerance_says_what_counts_as_growth():
    patient = Stop(evaluations=160, stagnation=3, tolerance=0.0)
    ends = [len(run(Toy(), Archive(), s).history) for s in (STAGNATION, patient)]
    assert ends[0] < ends[1]


@pytest.mark.parametrize("algorithm", [RandomSearch(batch=8), Nsga2(population=8)])
def test_a_campaign_that_is_resumed_ends_where_it_would_have(algorithm, tmp_path):
    straight = run(Toy(), Archive(), STAGNATION, algorithm=algorithm)
    assert straight.reason == "stagnation"
    toy, path = Toy(), tmp_path / "archive.jsonl"

    def evaluate(genotypes):
        for part in toy.evaluate(genotypes):
            if len(toy.evaluated) > straight.evaluations // 2:
                raise Killed
            yield part

    with pytest.raises(Killed):
        run(toy, Archive(path), STAGNATION, evaluate=evaluate, algorithm=algorithm)
    resumed = run(toy, Archive(path), STAGNATION, algorithm=algorithm)
    assert resumed.history == straight.history
    assert resumed.reason == "stagnation"


def test_time_ends_a_campaign_after_the_generation_it_runs_out_in(monkeypatch):
    ticking(monkeypatch, 10.0)
    archive, stop = Archive(), Stop(evaluations=500, seconds=25.0)
    result = run(Toy(), archive, stop)
    assert (result.reason, result.evaluations) == ("seconds", 16)


def test_time_begins_anew_where_a_campaign_is_resumed(monkeypatch):
    archive, stop = Archive(), Stop(evaluations=500, seconds=25.0)
    ticking(monkeypatch, 10.0)
    first = run(Toy(), archive, stop)
    # What the archive answers takes no time.
    ticking(monkeypatch, 5.0)
    again = run(Toy(), archive, stop)
    assert again.history[: len(first.history)] == first.history
    assert again.evaluations == 32


def test_the_first_rule_that_holds_is_the_reason():
    stop = Stop(evaluations=10, seconds=5.0, stagnation=1)
    flat = [0.5, 0.5]
    assert stop.reason(9, 4.0, [0.5]) is None
    assert stop.reason(9, 4.0, flat) == "stagnation"
    assert stop.reason(9, 5.0, flat) == "seconds"
    assert stop.reason(10, 5.0, flat) == "evaluations"


def test_a_search_that_has_found_nothing_yet_does_not_stagnate():
    assert Stop(evaluations=10, stagnation=1).reason(5, 0.0, [0.0] * 9) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"evaluations": 0}, "evaluations must be at least 1, got 0"),
        ({"seconds": 0.0}, "seconds must be finite and greater than 0, got 0.0"),
        ({"seconds": math.inf}, "seconds must be finite and greater than 0, got inf"),
        ({"stagnation": 0}, "stagnation must be at least 1, got 0"),
        ({"tolerance": -0.1}, "tolerance must be finite and not negative, got -0.1"),
    ],
)
def test_rules_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Stop(**{"evaluations": 1} | values)
