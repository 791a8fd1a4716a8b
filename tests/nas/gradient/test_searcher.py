"""The searcher of a run: what it looks at, archives, and does again."""

import dataclasses

import numpy as np
import pytest
from flax import nnx

from nas import Decoder, Experiment, GradientSearch, Search, Softmax, StdlibText
from nas.evaluation import MakeEvaluate
from nas.gradient.descent import planned_descents
from nas.gradient.searcher import GradientTask, Searcher
from nas.metrics import CheapMetrics, make_problem
from search.archive import Archive
from supernets.weights import flat_weights, host_copy
from tests.kernels.comparison import quick_options

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

SPEC = GradientSearch(
    steps=6, batch=2, sweep=2, sampling=Softmax(), decode_every=2, refine=8
)
MODEL = Decoder(width=(8,), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
EXPERIMENT = Experiment(
    model=MODEL,
    data=StdlibText(tokens=8),
    search=Search(
        algorithm=SPEC,
        objectives=("loss", "params"),
        constraints=("params <= 90%",),
        evaluations=24,
        examples=4,
    ),
    execution="masked",
)
PROBLEM = make_problem(EXPERIMENT, None)
DESCENTS = planned_descents(EXPERIMENT, PROBLEM, SPEC)


class Shared(Archive):
    """An archive of which a test knows what was asked for anew."""

    def append(self, records):
        super().append([record for record in records if record not in self])


@pytest.fixture(scope="module")
def weights():
    return host_copy(flat_weights(MODEL.build(rngs=nnx.Rngs(0))))


@pytest.fixture(scope="module")
def searcher(weights):
    """One searcher for all tests: it compiles once, and its archive is replaced."""
    cheap = CheapMetrics.of(EXPERIMENT, None)
    task = GradientTask.of(EXPERIMENT, PROBLEM, cheap, SPEC, DESCENTS[0])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("supernets.evaluation.QUICK_TO_COMPILE", quick_options())
        yield Searcher(task, Shared(), weights)


def done(searcher, descent, archive):
    searcher.archive = archive
    searcher.begin(descent)
    rounds = []
    while (told := searcher.advance()) is not None:
        rounds.append(told)
    return rounds


def test_descents_are_those_of_each_set_of_bounds_and_share_the_evaluations():
    limit = next(bound.limit for bound in PROBLEM.bounds)
    assert [descent.looks for descent in DESCENTS] == [12, 12]
    assert DESCENTS[-1].limits == {"params": limit}
    assert DESCENTS[0].limits["params"] < limit
    several = dataclasses.replace(EXPERIMENT.search, seeds=2, seconds=10.0)
    experiment = dataclasses.replace(EXPERIMENT, search=several)
    planned = planned_descents(experiment, PROBLEM, SPEC)
    assert [(d.campaign, d.number, d.seed) for d in planned] == [
        ("GradientSearch seed 0", 0, 0),
        ("GradientSearch seed 0", 1, 0),
        ("GradientSearch seed 1", 0, 1),
        ("GradientSearch seed 1", 1, 1),
    ]
    assert {descent.seconds for descent in planned} == {5.0}


@pytest.fixture(scope="module")
def first(searcher):
    archive = Shared()
    return archive, [done(searcher, descent, archive) for descent in DESCENTS]


def test_what_is_looked_at_is_archived_as_by_any_other_algorithm(first, weights):
    archive, rounds = first
    told = {record.genotype for each in rounds for r in each for record in r.records}
    assert told == {record.genotype for record in archive.records}
    genotypes = np.asarray([record.genotype for record in archive.records], np.int32)
    evaluate = MakeEvaluate(EXPERIMENT)(weights)
    expected = [
        values
        for start in range(0, len(genotypes), 8)
        for values in evaluate(genotypes[start : start + 8])["loss"].tolist()
    ]
    assert [record.metrics["loss"] for record in archive.records] == expected
    params = PROBLEM.cheap(genotypes)["params"].tolist()
    assert [record.metrics["params"] for record in archive.records] == params
    assert {record.campaign for record in archive.records} == {"GradientSearch"}


def test_every_descent_ends_within_its_bounds_and_its_looks(first):
    _, rounds = first
    for descent, each in zip(DESCENTS, rounds, strict=True):
        assert [told.number for told in each] == list(range(len(each)))
        assert [told.steps for told in each[:3]] == [2, 4, 6]
        assert each[-1].steps == SPEC.steps
        looked = [record for told in each for record in told.records]
        assert 1 < len(looked) <= descent.looks
        scores = [
            record.metrics["loss"]
            for record in looked
            if record.metrics["params"] <= descent.limits["params"]
        ]
        assert each[-1].best == min(scores)
        assert each[0].records[0].metrics["params"] <= descent.limits["params"]


def test_a_descent_that_begins_again_is_answered_from_the_archive(searcher, first):
    archive, rounds = first
    before = archive.records
    searcher._score = None  # Which fails, should anything be evaluated.
    for descent, expected in zip(DESCENTS, rounds, strict=True):
        assert done(searcher, descent, archive) == expected
    assert archive.records == before


def test_a_descent_whose_time_is_over_has_looked_at_something(searcher, first):
    archive, _ = first
    hurried = dataclasses.replace(DESCENTS[0], seconds=0.0)
    assert len(done(searcher, hurried, archive)) == 1
