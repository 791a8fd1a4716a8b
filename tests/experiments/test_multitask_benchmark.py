"""The multi-task benchmark, as far as it goes without training."""

import json
import math

import numpy as np
import pytest
from rich.console import Console

from experiments.benchmarks import multitask as benchmark
from experiments.benchmarks.multitask import (
    BUDGETS,
    Judge,
    means,
    measure,
    multi_task,
    readme_rows,
    recipe,
    searched_decoders,
    summary,
    wishes,
)
from experiments.benchmarks.multitask_choice import (
    Wish,
    choose,
    decoder_units,
    loss_weights,
    open_space,
    weighted,
)
from experiments.benchmarks.multitask_figure import multitask_figure
from experiments.quickstart import experiment as quickstart
from nas.errors import UsageError
from nas.report import drawing
from search.constraints import InfeasibleError
from supernets.multitask.spec import MultiTask, Task

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

UNITS = (0, 4, 8, 16)
TASKS = tuple(Task(name=name, classes=2, units=UNITS) for name in ("a", "b", "c"))
MODEL = MultiTask(
    width=(4, 8),
    heads=(1, 2),
    ffn=(4, 8),
    depth=(1, 2),
    head_dim=4,
    image=(4, 4, 1),
    patch=2,
    tasks=TASKS,
)
SPACE = MODEL.space()


def macs(genotypes):
    costs = MODEL.costs(genotypes, batch=1, example=MODEL.image)["macs"]
    return (
        costs / MODEL.costs(SPACE.largest[None], batch=1, example=MODEL.image)["macs"]
    )


def losses(genotypes):
    """Less with more units of a task's own decoder, and a wider encoder."""
    widths = SPACE.values(genotypes, "width")
    return {
        f"loss_{task.name}": 2.0
        - SPACE.values(genotypes, task.choice.name) / 16
        - widths / 32
        - SPACE.values(genotypes, "ffn").sum(1) / 100
        for task in TASKS
    }


def test_the_preferred_task_gets_the_largest_decoder():
    assert decoder_units(TASKS, "b") == {"a_units": 0, "b_units": 16, "c_units": 0}
    assert decoder_units(TASKS, None) == {"a_units": 4, "b_units": 4, "c_units": 4}
    with pytest.raises(ValueError, match=r"no task 'd' to prefer; there are \['a', "):
        decoder_units(TASKS, "d")


def test_the_weights_of_losses_add_up_to_one():
    assert loss_weights(TASKS, "b") == pytest.approx({"a": 0.1, "b": 0.8, "c": 0.1})
    assert set(loss_weights(TASKS, None).values()) == {1 / 3}
    assert loss_weights(TASKS[:1], "a") == {"a": 1.0}
    with pytest.raises(ValueError, match="no task 'd'"):
        loss_weights(TASKS, "d")
    rows = {"loss_a": np.asarray([1.0, 2.0]), "loss_b": np.asarray([3.0, 5.0])}
    assert weighted(rows, {"a": 0.75, "b": 0.25}).tolist() == [1.5, 2.75]


@pytest.mark.parametrize("budget", [0.3, 0.5])
@pytest.mark.parametrize("preferred", ["c", None])
def test_the_search_finds_the_best_subnet_within_the_budget(budget, preferred):
    wish = Wish(budget=budget, preferred=preferred, method="rule")
    chosen = choose(MODEL, wish, losses, evaluations=1000, seed=0)
    members = SPACE.lift(open_space(MODEL, wish), open_space(MODEL, wish).enumerate())
    affordable = members[macs(members) <= budget]
    assert 1 < len(affordable) < len(members)
    # The whole part of the space that is affordable was searched, and no more.
    assert chosen.evaluations == len(affordable)
    best = weighted(losses(affordable), loss_weights(TASKS, preferred)).min()
    assert chosen.objective == best
    assert macs(chosen.genotype[None])[0] <= budget
    found = SPACE.decode(chosen.genotype)
    units = decoder_units(TASKS, preferred)
    assert {name: found[name] for name in units} == units


def test_a_free_search_chooses_decoders_too_and_keeps_to_its_evaluations():
    wish = Wish(budget=0.6, preferred="a", method="search")
    chosen = choose(MODEL, wish, losses, evaluations=96, seed=0)
    assert chosen.evaluations == 96
    assert open_space(MODEL, wish) == SPACE
    found = SPACE.decode(chosen.genotype)
    assert found["a_units"] == UNITS[-1]
    assert macs(chosen.genotype[None])[0] <= wish.budget


def test_a_budget_that_nothing_keeps_to_is_refused():
    wish = Wish(budget=0.001, preferred="a", method="rule")
    with pytest.raises(InfeasibleError, match="no architecture satisfies 'macs"):
        choose(MODEL, wish, losses, evaluations=8, seed=0)


def errors(wish, seed):
    """Fewer with a budget and with a preference; seeds differ by a percent."""
    row = {}
    for task in ("left", "right"):
        gain = {None: 1.0, task: 0.8}.get(wish.preferred, 1.5)
        row[f"error_{task}"] = (0.1 + 0.01 * seed) * gain * (1 - wish.budget)
    return row


def fake_rows(seeds=2):
    return [
        {
            "seed": seed,
            "budget": wish.budget,
            "preferred": wish.preferred,
            "method": wish.method,
            "arch": {"left_units": 64, "right_units": 0},
            "test": errors(wish, seed),
        }
        for seed in range(seeds)
        for wish in wishes(multi_task(recipe))
    ]


def test_means_are_over_seeds_and_changes_within_one():
    found = means(fake_rows(), ["left", "right"], BUDGETS[0], "rule")
    neutral = found["error_percent"]["none"]["left"]
    assert neutral["mean"] == pytest.approx(10.5 * (1 - BUDGETS[0]), abs=1e-3)
    deviation = (1 - BUDGETS[0]) / math.sqrt(2)
    assert neutral["deviation"] == pytest.approx(deviation, abs=1e-3)
    assert found["change_percent"]["right"] == {
        "left preferred": {"mean": 50.0, "deviation": 0.0},
        "right preferred": {"mean": -20.0, "deviation": 0.0},
    }
    alone = means(fake_rows(1), ["left", "right"], BUDGETS[0], "rule")
    assert "deviation" not in alone["error_percent"]["none"]["left"]


def test_decoders_are_counted_where_they_were_searched_for_a_preference():
    def row(units, preferred="b", method="search"):
        arch = dict(zip(("a_units", "b_units", "c_units"), units, strict=True))
        return {"method": method, "preferred": preferred, "arch": arch}

    rows = [row((0, 4, 0)), row((4, 8, 0)), row((4, 4, 0)), row((0, 4, 8))]
    others = [row((0, 4, 0), method="rule"), row((0, 4, 0), preferred=None)]
    found = searched_decoders(rows + others, ["a", "b", "c"])
    assert found == {"larger": 2, "equal": 1, "smaller": 1}


def test_what_is_recorded_can_be_read_and_drawn():
    results = json.loads(json.dumps(summary(fake_rows(), evaluations=96)))
    assert results["tasks"] == ["left", "right"]
    assert len(results["rows"]) == 2 * len(BUDGETS) * 3 * 2
    lines = readme_rows(results)
    assert len(lines) == 2 * len(BUDGETS) + 1
    assert lines[0] == (
        "| Errors at 15% of the MACs, decoders by the rule, encoder searched | "
        "left 7.1% preferred, 8.9% neutral, 13.4% not preferred; "
        "right 7.1% preferred, 8.9% neutral, 13.4% not preferred |"
    )
    assert lines[-1] == (
        "| Preferred task's decoder, where searched | 6 larger, 0 equal, 6 smaller |"
    )
    figure = multitask_figure(results)
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key[-3:] == ["prefers left", "prefers right", "prefers none"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["Error of left, %"] * 2
    assert drawing.to_png(figure).startswith(b"\x89PNG")


def test_what_is_finished_is_not_measured_again(tmp_path, monkeypatch):
    trained, made = [], []

    def row(_, wish, evaluations, seed):
        made.append((wish, evaluations, seed))
        if len(made) == 25:
            raise KeyboardInterrupt
        return {"test": errors(wish, seed)}

    monkeypatch.setattr(benchmark, "train", lambda *given: trained.append(given[:2]))
    monkeypatch.setattr(Judge, "load", lambda *_: None)
    monkeypatch.setattr(Judge, "row", row)
    runs, kept = [tmp_path / "first", tmp_path / "second"], tmp_path / "cases.jsonl"
    quiet = Console(quiet=True)
    with pytest.raises(KeyboardInterrupt):
        measure(runs, kept, 96, quiet)
    assert trained == [(runs[0], 0), (runs[1], 1)]
    rows = measure(runs, kept, 96, quiet)
    assert trained == [(runs[0], 0), (runs[1], 1), (runs[1], 1)]
    every = list(wishes(multi_task(recipe)))
    assert len(made) == 2 * len(every) + 1
    assert [row["seed"] for row in rows] == [0] * len(every) + [1] * len(every)
    with pytest.raises(UsageError, match="results of other settings"):
        measure(runs, kept, 97, quiet)


def test_a_model_of_one_task_is_refused():
    with pytest.raises(UsageError, match="Decoder has no tasks to prefer"):
        multi_task(quickstart)
