"""Searches by gradient as trials of a real Ray Tune, with a searcher that is a toy."""

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from ray.tune.experiment import Trial

from nas.experiment import Experiment, Search
from nas.gradient.descent import Descent, Round
from nas.gradient.searcher import GradientTask
from nas.gradient.trials import AmongSeeds, run_descents
from nas.metrics import CheapMetrics, make_problem
from nas.ray_session import ray_session
from search import tune
from search.archive import Archive, Record
from search.space import Choice, Space
from search.tune import CampaignError
from search.workers import Workers
from supernets.decoder.spec import Decoder
from supernets.gradient_search.specs import GradientSearch
from tests.search.on_ray import by_value

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

SPACE = Space(layers=1, choices=(Choice("ffn", tuple(range(1, 40))),))
ROUNDS = 3
MODEL = Decoder(width=(8, 16), heads=(1,), ffn=(8,), depth=(1, 2), head_dim=4)
EXPERIMENT = Experiment(model=MODEL, search=Search(algorithm=GradientSearch()))
TASK = GradientTask(
    experiment=EXPERIMENT,
    spec=GradientSearch(steps=ROUNDS),
    problem=make_problem(EXPERIMENT, None),
    cheap=CheapMetrics.of(EXPERIMENT, None),
    bounded=(),
)


class ToySearcher:
    """Looks at one subnet in each of a few rounds; may fail, by its environment."""

    def __init__(self, task, archive, weights):
        self.archive = archive
        assert task == TASK
        assert weights["scale"] == 1.0

    def begin(self, descent):
        self.descent, self.number = descent, 0

    def advance(self):
        if self.number == ROUNDS:
            return None
        if self.number == 1 and "NAS_DIES" in os.environ:
            marker = Path(os.environ["NAS_DIES"])
            if not marker.exists():
                marker.touch()
                os._exit(1)
        if "NAS_BREAKS" in os.environ:
            raise ArithmeticError("the gradient is on fire")
        told = expected_round(self.descent, self.number)
        self.archive.append(list(told.records))
        self.number += 1
        return told


def expected_round(descent, number):
    gene = 3 * descent.number + number + 10 * descent.seed
    record = Record(
        (gene,),
        SPACE.decode(np.asarray([gene])).to_json(),
        {"loss": float(gene)},
        descent.campaign,
        number,
        0.0,
    )
    return Round(number, number + 1, (record,), float(gene))


def descents(seeds=1):
    return [
        Descent(
            campaign=f"seed {seed}",
            number=number,
            limits={},
            seed=seed,
            looks=9,
            seconds=None,
        )
        for seed in range(seeds)
        for number in range(2)
    ]


def searched(folder, planned, **environment):
    told = []
    with by_value(sys.modules[__name__]):
        run_descents(
            TASK,
            planned,
            weights={"scale": np.ones(())},
            workers=Workers(count=1, resources={"CPU": 1.0}, environment=environment),
            archive=folder / "archive.jsonl",
            storage=folder / "tune",
            on_round=lambda *row: told.append(row),
            searcher=ToySearcher,
        )
    return told


@pytest.fixture(scope="module", autouse=True)
def _ray_here():
    with ray_session(None, cpus=2):
        yield


def test_every_descent_is_done_though_a_searcher_died(tmp_path):
    died = tmp_path / "died"
    told = searched(tmp_path, descents(), NAS_DIES=str(died))
    assert died.exists()
    last = {(descent.number, row.number): row for descent, row, _ in told}
    assert last == {
        (descent.number, number): expected_round(descent, number)
        for descent in descents()
        for number in range(ROUNDS)
    }
    assert max(crew.restarts for _, _, crew in told) == 1
    assert all(crew.alive >= 1 for _, _, crew in told)
    archived = Archive(tmp_path / "archive.jsonl").records
    expected = [r for row in last.values() for r in row.records]
    assert sorted(archived, key=str) == sorted(expected, key=str)


def test_a_failure_is_told_with_its_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "MAX_RESTARTS", 0)
    with pytest.raises(CampaignError, match="2 of 2 searches by gradient fail") as told:
        searched(tmp_path, descents(), NAS_BREAKS="yes")
    assert "the gradient is on fire" in str(told.value)


def decisions(bests, steps=8):
    """Tells the best of some descents at each step; returns who was stopped when."""
    scheduler, stopped = AmongSeeds(steps), {}
    for seed, number in bests:
        config = {"descent": types.SimpleNamespace(seed=seed, number=number)}
        trial = Trial("toy", config=config, trial_id=f"{seed}-{number}", stub=True)
        scheduler.on_trial_add(None, trial)
        for step in range(1, steps + 1):
            result = {"steps": step, "best": bests[seed, number]}
            if scheduler.on_trial_result(None, trial, result) == AmongSeeds.STOP:
                stopped[seed, number] = step
                break
        scheduler.on_trial_complete(None, trial, {"done": True})
    return stopped


def test_a_descent_behind_another_seed_is_stopped_after_its_grace():
    assert decisions({(0, 0): 1.0, (1, 0): 2.0, (2, 0): 0.5}) == {(1, 0): 2}


def test_descents_within_other_bounds_are_no_measure():
    assert decisions({(0, 0): 1.0, (0, 1): 2.0, (1, 0): 0.9, (1, 1): 1.5}) == {}
