"""Tune's searchers inside a campaign, and spaces as Tune sees them."""

import dataclasses
import sys

import numpy as np
import pytest
from ray.tune.search import Searcher

from nas.config import decode, encode
from nas.errors import UsageError
from nas.experiment import Experiment, Search
from nas.metrics import make_problem, require_askable
from search.archive import Archive
from search.campaign import run_campaign
from search.random_search import RandomSearch
from search.space import Choice, Depth, Rule, Space
from search.tune_searcher import (
    VIOLATION,
    Optuna,
    TuneSearcher,
    genotype,
    param_space,
)
from supernets.decoder.spec import Decoder
from tests.search.toy import Toy

SPACES = (
    Toy().space,
    Space((Choice("norm", ("pre", "post")), Choice("bias", (False, True))), layers=3),
    Space((Choice("ffn", (1.5, 2.0), per_layer=True),), 4, Depth((2, 3), "free")),
    Space((Choice("ffn", (1, 2), per_layer=True),), 5, Depth((1, 3, 5), "spaced")),
)


@pytest.mark.parametrize("space", SPACES)
def test_samples_of_tune_are_genotypes_of_the_space(space):
    domains = param_space(space)
    assert len(domains) == space.genes
    drawn = []
    for _ in range(40):
        config = {name: domain.sample() for name, domain in domains.items()}
        drawn.append(genotype(space, config | {"other": 1}))
    rows = np.asarray(drawn)
    assert (space.canonical(rows) == rows).all()
    valid = space.valid(rows)
    assert valid.all() or space.free
    for row in rows[valid]:
        assert (space.encode(space.decode(row)) == row).all()
    assert (np.ptp(rows, axis=0) > 0).any()


def test_every_member_has_a_sample():
    space = Toy(layers=3).space
    domains = param_space(space)
    values = [domain.categories for domain in domains.values()]
    for row in space.enumerate():
        config = {
            name: own[index]
            for name, own, index in zip(domains, values, row, strict=True)
        }
        assert (genotype(space, config) == row).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 9}, r"'depth' has no value 9, only \(2, 3\)"),
        ({"width": None}, "'width' has no value None"),
        ({}, r"the configuration lacks \['depth', 'width'"),
    ],
)
def test_configurations_of_other_spaces_are_refused(change, message):
    space = Toy(layers=3).space
    whole = {name: domain.categories[0] for name, domain in param_space(space).items()}
    with pytest.raises(ValueError, match=message):
        genotype(space, whole | change if change else {})


class Scripted(Searcher):
    """Suggests what it is given, and writes down what it is told."""

    def __init__(self, names, suggestions):
        super().__init__(metric=["error", "latency_ms"], mode=["min", "min"])
        self.names, self.suggestions = names, iter(suggestions)
        self.asked, self.told = [], {}

    def suggest(self, trial_id):
        self.asked.append(trial_id)
        row = next(self.suggestions, Searcher.FINISHED)
        return row if isinstance(row, str) else dict(zip(self.names, row, strict=True))

    def on_trial_complete(self, trial_id, result=None, error=False):
        assert trial_id in self.asked
        assert trial_id not in self.told
        self.told[trial_id] = "error" if error else result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
    suggestions: tuple
    made: list = dataclasses.field(default_factory=list)

    def build(self, params, metrics, seed):
        assert (metrics, seed) == (("error", "latency_ms"), 0)
        assert all(domain.sample() in (0, 1, 2) for domain in params.values())
        self.made.append(Scripted(list(params), self.suggestions))
        return self.made[-1]


def scripted(*suggestions, batch, limit=20.0):
    """Returns a toy, an algorithm, and where the searchers that it makes are kept."""
    script = Script(suggestions=suggestions)
    return Toy(limit=limit), TuneSearcher(searcher=script, batch=batch), script.made


SMALL, LARGE, OTHER = (0,) * 6, (2,) * 6, (0, 1, 0, 0, 0, 0)


def test_a_searcher_is_told_each_outcome_once_however_often_it_repeats_itself():
    toy, algorithm, made = scripted(SMALL, LARGE, SMALL, OTHER, batch=2)
    state = algorithm.init(toy.problem, 0)
    (searcher,) = made
    asked = algorithm.ask(toy.problem, state)
    assert [tuple(row) for row in asked.tolist()] == [SMALL, OTHER]
    # Nothing is known yet, not even what is worse than everything feasible.
    assert searcher.told == {}
    objectives, violations = toy.outcome(asked)
    state = algorithm.tell(toy.problem, state, asked, objectives, violations)
    algorithm.ask(toy.problem, state)
    assert searcher.told["0"] == searcher.told["2"]
    assert searcher.told["0"]["error"] == objectives[0, 0]
    assert searcher.told["3"]["latency_ms"] == objectives[1, 1]
    broken = searcher.told["1"]
    assert broken[VIOLATION] == toy.problem.cheap_violations(np.int32([LARGE]))[0] > 0
    for name, worst in zip(toy.problem.objectives, objectives.max(0), strict=True):
        assert broken[name] > worst


def test_what_is_known_already_is_told_at_once_and_random_members_fill_up():
    toy, algorithm, made = scripted(SMALL, OTHER, SMALL, LARGE, batch=2)
    state = algorithm.init(toy.problem, 0)
    asked = algorithm.ask(toy.problem, state)
    state = algorithm.tell(toy.problem, state, asked, *toy.outcome(asked))
    asked = algorithm.ask(toy.problem, state)
    assert made[0].told["2"] == made[0].told["0"]
    assert made[0].told["3"][VIOLATION] > 0
    assert len(asked) == 2
    assert toy.problem.feasible(asked).all()
    assert not {SMALL, OTHER} & {tuple(row) for row in asked.tolist()}


def test_what_is_not_told_is_an_error_to_the_searcher():
    toy, algorithm, made = scripted(SMALL, OTHER, batch=2)
    state = algorithm.init(toy.problem, 0)
    asked = algorithm.ask(toy.problem, state)
    one = algorithm.tell(toy.problem, state, asked[:1], *toy.outcome(asked[:1]))
    algorithm.ask(toy.problem, one)
    assert made[0].told["1"] == "error"
    # A state of before is answered as before, by another searcher.
    assert (algorithm.ask(toy.problem, state) == asked).all()
    assert len(made) == 2


def test_members_that_break_a_rule_are_infeasible():
    rule = Rule("no middle", lambda arch: arch["width"] != 2)
    toy, algorithm, made = scripted(
        (0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0), (2, 2, 0, 0, 0, 0), batch=2, limit=1e9
    )
    toy.space = dataclasses.replace(toy.space, rules=(rule,))
    toy.problem = dataclasses.replace(toy.problem, space=toy.space)
    state = algorithm.init(toy.problem, 0)
    asked = algorithm.ask(toy.problem, state)
    assert toy.space.valid(asked).all()
    state = algorithm.tell(toy.problem, state, asked, *toy.outcome(asked))
    algorithm.ask(toy.problem, state)
    assert made[0].told["0"][VIOLATION] == 1.0


def content(archive):
    return [dataclasses.replace(record, seconds=0.0) for record in archive.records]


def campaign(toy, archive, algorithm, budget=24, seed=3):
    return run_campaign(
        toy.problem,
        algorithm,
        toy.evaluate,
        archive,
        name="test",
        seed=seed,
        budget=budget,
    )


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_campaign_of_optuna_is_replayed_from_its_archive(tmp_path, sampler):
    algorithm = TuneSearcher(searcher=Optuna(sampler=sampler, startup=8), batch=8)
    straight = Archive()
    expected = campaign(Toy(), straight, algorithm)
    archive = Archive(tmp_path / "archive.jsonl")
    campaign(Toy(), archive, algorithm, budget=13)
    assert content(archive) == content(straight)[:13]
    toy, archive = Toy(), Archive(tmp_path / "archive.jsonl")
    result = campaign(toy, archive, algorithm)
    assert content(archive) == content(straight)
    assert len(toy.evaluated) == 11
    assert result.history == expected.history


def test_optuna_learns_to_keep_to_the_bounds():
    toy = Toy(layers=6, limit=16.0)
    made = []

    @dataclasses.dataclass(frozen=True)
    class Watched:
        def build(self, params, metrics, seed):
            searcher = Optuna(startup=24).build(params, metrics, seed)
            complete = searcher.on_trial_complete

            def watch(trial_id, result=None, error=False):
                made.append(result[VIOLATION] > 0)
                complete(trial_id=trial_id, result=result, error=error)

            searcher.on_trial_complete = watch
            return searcher

    campaign(toy, Archive(), TuneSearcher(searcher=Watched(), batch=8), budget=40)
    first, last = np.mean(made[:24]), np.mean(made[-24:])
    assert first > 0.5
    assert last < first / 2


@pytest.mark.slow
def test_optuna_beats_random_search():
    toy = Toy(layers=10, limit=60.0)
    reference = np.asarray([1.0, 61.0])

    def reached(algorithm, seed):
        result = run_campaign(
            toy.problem,
            algorithm,
            toy.evaluate,
            Archive(),
            name="test",
            seed=seed,
            budget=128,
            reference=reference,
        )
        return result.history[-1].hypervolume

    optuna = [reached(TuneSearcher(batch=8), seed) for seed in range(5)]
    random = [reached(RandomSearch(batch=16), seed) for seed in range(5)]
    assert np.mean(optuna) > np.mean(random)


def test_without_optuna_a_search_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    model = Decoder(width=(8, 16), heads=(1,), ffn=(8, 16), depth=(1, 2), head_dim=4)
    search = Search(algorithm=TuneSearcher(), constraints=())
    experiment = Experiment(model=model, search=search)
    problem = make_problem(experiment, None)
    with pytest.raises(UsageError, match=r"pip install 'nas-jax\[optuna\]'"):
        require_askable(experiment, problem)


def test_a_recipe_with_a_searcher_is_written_and_read_back():
    search = Search(algorithm=TuneSearcher(searcher=Optuna(sampler="nsga2"), batch=4))
    assert decode(encode(search)) == search


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TuneSearcher(batch=0), "batch must be at least 1, got 0"),
        (lambda: Optuna(startup=1), "startup must be at least 2, got 1"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
