"""The policies benchmark: what it compares, and that it goes on where it stopped."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from rich.console import Console

from experiments.benchmarks import policies as benchmark
from experiments.benchmarks import policies_training, policies_units
from experiments.benchmarks.policies_contenders import (
    PANEL,
    POLICIES,
    REFERENCE,
    SETTING,
    Member,
)
from experiments.benchmarks.policies_figure import policies_figure
from experiments.benchmarks.policies_training import (
    PROBES,
    Recipe,
    Setting,
    Trainer,
    step_times,
)
from experiments.benchmarks.policies_units import Cache, Comparison, Unit, digest
from nas import AdamW, Decoder, Phase, StdlibText
from nas.errors import UsageError
from nas.forecast import Work, mean_work
from nas.report import drawing
from search.space import Choice, Depth, Space
from supernets.phases import Plan
from supernets.policies.largest_only import LargestOnly
from supernets.policies.uniform import Uniform

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.long

TINY = Setting(
    model=Decoder(width=(8, 16), heads=(1, 2), ffn=(16, 32), depth=(1, 2), head_dim=8),
    data=StdlibText(tokens=16),
    batch=2,
    windows=4,
)
TINY_PANEL = {
    "largest": Member(width=16, heads=2, ffn=32, depth=2),
    "shallow": Member(width=16, heads=2, ffn=32, depth=1),
}
LARGEST = Recipe(phases=(Phase(policy=LargestOnly()),), optimizer=AdamW())


class FakeTrainer(Trainer):
    """Trains nothing: the loss falls with steps and seeds, and has a best rate."""

    trained: list[tuple[float, int, int]]
    lives: float

    def train(self, recipe, *, steps, seed, tell):
        type(self).lives -= 1
        if type(self).lives < 0:
            raise KeyboardInterrupt
        tell(steps)
        rate = recipe.optimizer.learning_rate
        type(self).trained.append((rate, steps, seed))
        return rate, steps, seed

    def losses(self, params, genotypes):
        rate, steps, seed = params
        # The supernet gains from the high rate where it does not train.
        loss = 3 - 0.001 * steps - 0.01 * seed + 100 * abs(rate - 0.004)
        rows = [loss + row * (3 - 400 * rate) for row in range(len(genotypes))]
        return {"search": rows, "test": [2 * row for row in rows]}


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    FakeTrainer.trained, FakeTrainer.lives = [], float("inf")
    monkeypatch.setattr(policies_units, "Trainer", FakeTrainer)

    def times(_, recipes, **__):
        made_up = {"policy": [10.0, 50.0, 20.0], "reference": [20.0, 100.0, 40.0]}
        return {name: made_up[name] for name in recipes}

    monkeypatch.setattr(policies_units, "step_times", times)
    return FakeTrainer


def comparison(folder, **changes):
    policies = {
        REFERENCE: POLICIES[REFERENCE],
        "uniform": dataclasses.replace(POLICIES["uniform"], trained=("largest",)),
    }
    values = {
        "setting": TINY,
        "policies": policies,
        "reference": POLICIES[REFERENCE],
        "panel": TINY_PANEL,
        "steps": 20,
        "seeds": (0, 1),
        "rates": (0.002, 0.004),
        "folder": folder,
        "console": Console(file=sys.stderr),
    }
    return Comparison(**{**values, **changes})


def test_twins_are_the_networks_that_subnets_of_the_panel_are():
    model, space = SETTING.model, SETTING.model.space()
    for member in PANEL.values():
        genotype = member.genotype(space)
        alone = member.alone(model)
        assert alone.space().size.value == 1
        costs = [
            part.costs(rows[None], batch=1, example=(128,))
            for part, rows in ((model, genotype), (alone, alone.space().largest))
        ]
        assert costs[0] == costs[1]
    assert (PANEL["largest"].genotype(space) == space.largest).all()
    assert (PANEL["smallest"].genotype(space) == space.smallest).all()


def test_policies_train_the_members_of_the_panel_that_they_say():
    space = SETTING.model.space()
    genotypes = {name: tuple(m.genotype(space)) for name, m in PANEL.items()}
    for name in ("matformer", "sorted"):
        recipe = POLICIES[name].recipe
        plan = Trainer(SETTING).plan(recipe, steps=8, seed=0)
        drawn = {
            tuple(row)
            for number in range(8)
            for rows in plan.step(number).draw.genotypes
            for row in rows
        }
        reached = {member for member, row in genotypes.items() if row in drawn}
        exits = {"shallow"} if name == "sorted" else set()
        assert reached | exits == set(POLICIES[name].trained)


def test_mean_work_counts_what_is_run():
    space = Space((Choice("width", (1, 2, 4)),), 1, Depth((1,)))
    plan = Plan(
        phases=(
            Phase(policy=Uniform(subnets=3), full=1.0),
            Phase(policy=Uniform(subnets=3), share=3.0),
        ),
        steps=400,
        whole=space,
        cost=lambda rows: np.asarray([1.0, 2.0, 4.0])[rows[:, -1]],
        seed=0,
    )
    assert mean_work(plan, range(100)) == Work(passes=1, macs=4)
    assert mean_work(plan).passes == (1 + 3 * 3) / 4
    # A random one costs 7 / 3.
    assert mean_work(plan).macs == pytest.approx((4 + 3 * 7) / 4, abs=0.3)


def test_all_are_timed_on_the_same_steps_in_every_round(monkeypatch):
    taken, clock = [], [0.0]

    class Clocked(Trainer):
        def start(self, recipe, **_):
            return recipe

        def advance(self, recipe, _, number, state, __):
            assert state is recipe
            taken.append((len(recipe.phases), number))
            clock[0] += 0.010 * len(recipe.phases)
            return state

    monkeypatch.setattr(policies_training.time, "process_time", lambda: clock[0])
    twice = dataclasses.replace(LARGEST, phases=LARGEST.phases * 2)
    sides = {"one": LARGEST, "two": twice}
    times = step_times(Clocked(TINY), sides, steps=600, rounds=3)
    assert times == {
        "one": pytest.approx([10.0] * 3),
        "two": pytest.approx([20.0] * 3),
    }
    assert len(taken) == 2 * PROBES * 4
    assert {number for _, number in taken} >= {0, 599}
    pairs = zip(taken[::2], taken[1::2], strict=True)
    assert all(a[1] == b[1] and a[0] != b[0] for a, b in pairs)


def test_budgets_follow_from_passes_and_from_the_time_of_steps(tmp_path):
    found = comparison(tmp_path)
    assert found.steps_of(REFERENCE, "passes") == 20
    assert found.steps_of("uniform", "passes") == 80
    assert found.steps_of("uniform", "time") == 40


def test_rates_are_those_that_are_best_for_what_a_policy_trains(tmp_path):
    found = comparison(tmp_path, rates=(0.002, 0.004))
    assert found.twin_rate("shallow") == 0.004
    assert found.policy_rate("uniform") == 0.004
    everything = dataclasses.replace(POLICIES["uniform"], trained=tuple(TINY_PANEL))
    other = comparison(tmp_path, policies={"uniform": everything}, rates=(0.004, 0.006))
    assert other.policy_rate("uniform") == 0.006


def test_an_interrupted_comparison_goes_on_and_finds_the_same(fake, tmp_path):
    whole = comparison(tmp_path / "whole")
    whole.run()
    expected = benchmark.summary(whole)
    trainings = list(fake.trained)
    assert len(set(trainings)) < len(trainings)
    fake.trained.clear()
    for lives in (3, 5):
        fake.lives = lives
        with pytest.raises(KeyboardInterrupt):
            comparison(tmp_path / "killed").run()
        with (tmp_path / "killed" / "units.jsonl").open("a") as file:
            file.write('{"key": {"kind": "tw')
    fake.lives = float("inf")
    killed = comparison(tmp_path / "killed")
    killed.run()
    assert fake.trained == trainings
    assert benchmark.summary(killed) == expected
    assert fake.trained == trainings


def test_finished_work_of_other_settings_is_refused(fake, tmp_path):
    comparison(tmp_path).run()
    with pytest.raises(UsageError, match="give another --out"):
        comparison(tmp_path, steps=21).run()
    more = comparison(tmp_path, seeds=(0, 1, 2))
    fake.trained.clear()
    more.run()
    assert {seed for _, _, seed in fake.trained} == {2}


def test_a_changed_recipe_is_trained_anew():
    assert digest(LARGEST) != digest(LARGEST.at_rate(0.1))
    assert digest(LARGEST) == digest(LARGEST.at_rate(AdamW().learning_rate))


def test_the_cache_keeps_only_whole_lines(tmp_path):
    path = tmp_path / "units.jsonl"
    unit = Unit(kind="twin", name="largest", seed=0, steps=1, rate=0.1)
    Cache(path, {"a": 1}).keep(dataclasses.asdict(unit), [1.5])
    with path.open("a") as file:
        file.write('{"key": 1, "val')
    again = Cache(path, {"a": 1})
    assert again.get(dataclasses.asdict(unit)) == [1.5]
    again.keep("other", 2)
    assert Cache(path, {"a": 1}).get("other") == 2
    assert len(path.read_text().splitlines()) == 3


@pytest.fixture
def results(tmp_path):
    found = comparison(tmp_path)
    found.run()
    return benchmark.summary(found)


def test_gaps_are_percentages_above_the_twin_of_the_same_seed(results):
    assert json.loads(json.dumps(results)) == results
    reference = results["policies"][REFERENCE]["budgets"]["passes"]
    assert reference["steps"] == 20
    assert reference["panel"]["largest"]["gap_percent"] == [0.0, 0.0]
    shallow = reference["panel"]["shallow"]
    twins = results["panel"]["shallow"]["test_loss"]
    assert shallow["gap_percent"] == pytest.approx(
        [100 * (a / b - 1) for a, b in zip(shallow["test_loss"], twins, strict=True)],
        abs=2e-3,
    )


def test_lines_of_the_readme_say_gaps_and_who_reaches_the_target(results):
    first, second = benchmark.readme_rows(results)
    assert first.startswith(
        "| Sandwich: largest / shallow | equal passes (20 steps) +0.0% / +"
    )
    assert first.count("1 of 2 within 1%") == 2
    assert "equal time (40 steps)" in second


def test_the_figure_shows_every_policy_subnet_and_budget(results):
    figure = policies_figure(results)
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(written) == 2 * 2 * 2
    assert written.count("+0.0") >= 2
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [label.partition("\n")[0] for label in labels] == ["Largest", "Shallow"]
    low, high = figure.axes[0].get_xlim()
    gaps = [
        gap
        for policy in results["policies"].values()
        for budget in policy["budgets"].values()
        for member in budget["panel"].values()
        for gap in member["gap_percent"]
    ]
    assert low < min(gaps)
    assert high > max(gaps)
    assert drawing.to_png(figure).startswith(b"\x89PNG")


def test_a_seed_fixes_the_data_and_the_weights():
    # One size of everything compiles quickly.
    trainer = Trainer(
        dataclasses.replace(TINY, model=TINY_PANEL["shallow"].alone(TINY.model))
    )
    done = []
    first, same, other = (
        trainer.losses(
            trainer.train(LARGEST, steps=2, seed=seed, tell=done.append),
            trainer.space.largest[None],
        )
        for seed in (0, 0, 1)
    )
    assert done == [1, 2] * 3
    assert first == same
    assert first != other
    assert 4 < first["test"][0] < 7


def test_the_command_trains_times_and_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "SETTING", TINY)
    monkeypatch.setattr(benchmark, "PANEL", TINY_PANEL)
    monkeypatch.setattr(policies_units, "ROUNDS", 1)
    monkeypatch.setattr(policies_units, "Trainer", Trainer)
    monkeypatch.setattr(policies_units, "step_times", step_times)
    words = "policies --steps 3 --seeds 1 --rates 0.004 --windows 4 --only sandwich"
    folders = ["--out", str(tmp_path / "out"), "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", [*words.split(), *folders])
    benchmark.main()
    results = json.loads((tmp_path / "results" / "policies.json").read_text())
    budgets = results["policies"]["sandwich"]["budgets"]
    assert budgets["passes"]["steps"] == 3
    assert budgets["passes"]["panel"].keys() == TINY_PANEL.keys()
    assert (tmp_path / "results" / "policies.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert benchmark.readme_rows(results)[0] in printed
