"""The precision benchmark: what it compares, and that it goes on where it stopped."""

import dataclasses
import itertools
import json
import sys

import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from experiments import elastic_bits_lm
from experiments.benchmarks import precision as benchmark
from experiments.benchmarks import precision_units
from experiments.benchmarks.precision_assignments import (
    Assignments,
    at_uniform_sizes,
    bits_of,
    budgets,
    by_importance,
    finalists,
    rank_correlations,
    told,
)
from experiments.benchmarks.precision_figure import above_whole, precision_figure
from experiments.benchmarks.precision_training import (
    Alone,
    Job,
    Setting,
    Trainer,
    adopted,
    uniform,
)
from experiments.benchmarks.precision_units import ALL_WIDTHS, MIXED, Study
from nas import AdamW, Decoder, Losses, StdlibText
from nas.errors import UsageError
from nas.report import drawing
from nas.rundir import RunDirectory, write_json
from supernets.evaluation import make_evaluate
from supernets.policies.policy import Moment, Subnets
from supernets.quantization.layer_scores import LayerScores

pytestmark = pytest.mark.long

TINY = Setting(
    model=Decoder(width=(8,), heads=(1,), ffn=(16,), depth=(2,), head_dim=8),
    bits=(2, 4, 8),
    data=StdlibText(tokens=16),
    batch=2,
    windows=4,
    final=16,
    optimizer=AdamW(),
)

SCORES = LayerScores(np.asarray([0.2, 0.1], "f"), np.asarray([0.2, 0.1], "f"))


class FakeTrainer(Trainer):
    """Trains nothing: weights are the words that say how they came about."""

    trained: list[str]
    lives: float

    def whole(self, seed):
        return f"start {seed}"

    def finished(self, job, start, seed):
        type(self).lives -= 1
        if type(self).lives < 0:
            raise KeyboardInterrupt
        policy = job.policy
        words = type(policy).__name__
        if isinstance(policy, Alone):
            words = str(policy.bits)
        type(self).trained.append(f"{job.mechanism} {words} {seed}")
        return f"{start}, {words}"

    def rounded(self, params, *_, **__):
        return f"{params}, rounded"

    def losses_of_parts(self, params, genotypes, split, model, windows, parts=1):
        bits = bits_of(model.space(), genotypes).astype(float)
        worse = 0.1 if "rounded" in params else 0.0
        # The first layer wants bits more than the second.
        costs = (0.3 + worse) / bits[:, 0] + (0.1 + worse) / bits[:, 1]
        losses = 1.0 + costs + 0.01 * (split == "test") - 0.001 * (windows > 4)
        return np.stack([losses] * parts, axis=1)


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    FakeTrainer.trained, FakeTrainer.lives = [], float("inf")
    monkeypatch.setattr(precision_units, "Trainer", FakeTrainer)
    monkeypatch.setattr(precision_units, "score_layers", lambda *_: SCORES)
    return FakeTrainer


def study(folder, **changes):
    values = {
        "setting": TINY,
        "steps": 2,
        "seeds": (0, 1),
        "policy": ALL_WIDTHS,
        "mixed": MIXED,
        "losses": Losses(),
        "qwix": False,
        "folder": folder,
        "console": Console(file=sys.stderr),
    }
    return Study(**{**values, **changes})


@pytest.fixture
def results(tmp_path):
    found = study(tmp_path)
    found.run()
    return benchmark.summary(found, None)


def test_networks_with_and_without_16_bits_have_the_same_parameters():
    shapes = [
        {path: leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(network))}
        for network in (network_of(True), network_of(False))
    ]
    assert shapes[0] == shapes[1]
    assert TINY.precise(whole=True).space().axes["weight_bits"] == (2, 4, 8, 16)


def network_of(whole):
    trainer = Trainer(TINY, 2)
    return trainer.network(TINY.precise(whole=whole))


def test_alone_trains_all_layers_in_the_same_bits():
    space = TINY.precise().space()
    policy = Alone(bits=4)
    (slot,) = policy.slots(space)
    assert not slot.fixed
    subnets = Subnets(space, lambda rows: np.arange(len(rows), dtype=float))
    for step in range(3):
        draw = policy.draw(subnets, Moment(0, step, 3))
        assert bits_of(space, draw.genotypes[0]).tolist() == [[4, 4]]
        assert (draw.genotypes[0, 0] == uniform(space, 4)).all()


def test_weights_go_to_another_mechanism_without_their_scales():
    own, given = (
        nnx.state(TINY.precise(mechanism=m).build(rngs=nnx.Rngs(seed)), nnx.Param)
        for m, seed in (("nested", 0), ("learned", 1))
    )
    flat = {
        name: dict(nnx.to_flat_state(state))
        for name, state in (
            ("own", own),
            ("given", given),
            ("new", adopted(own, given)),
        )
    }
    query = "blocks", 0, "attention", "query"
    scale = "blocks", 0, "attention", "query_quantizers", "log_scale"
    assert np.array_equal(flat["new"][query][...], flat["given"][query][...])
    assert np.array_equal(flat["new"][scale][...], flat["own"][scale][...])
    assert flat["given"][scale].shape[0] == 3


def assignments():
    """All bits of two layers; the second layer's bits hardly matter."""
    bits = np.asarray([(a, b) for a in (2, 4, 8) for b in (2, 4, 8)], np.int32)
    losses = 1.0 + 1.0 / bits[:, 0] + 0.1 / bits[:, 1]
    return assignments_of(bits, losses, losses + 0.5)


def assignments_of(bits, search, test):
    """They differ by nothing but chance that all share."""
    parts = np.stack([search - 0.2, search, search + 0.2], axis=1)
    rows = np.arange(len(bits))
    return Assignments(bits, bits.sum(1) / 10, search, test, rows, parts)


def test_the_front_is_of_the_split_that_is_searched():
    found = assignments()
    assert found.bits[found.uniform].tolist() == [[2, 2], [4, 4], [8, 8]]
    rows = found.front()
    assert found.sizes[rows].tolist() == sorted(found.sizes[rows])
    front = found.bits[rows].tolist()
    assert front[0] == [2, 2]
    assert front[-1] == [8, 8]
    assert [2, 8] not in front
    assert [8, 2] in front


def test_mixed_bits_gain_where_layers_differ():
    found = assignments()
    rows = budgets(found)
    assert [row["size_mb"] for row in rows] == sorted({a / 10 for a in sizes()})
    assert min(row["gain_percent"] for row in rows) >= 0
    # Ten bits: 4 and 4 fit, 8 and 2 are better.
    (ten,) = [row for row in rows if row["size_mb"] == 1.0]
    assert ten["mixed"] == pytest.approx(1.5 + 1 / 8 + 0.1 / 2)
    assert ten["uniform"] == pytest.approx(1.5 + 1 / 4 + 0.1 / 4)
    expected = 100 * (ten["uniform"] / ten["mixed"] - 1)
    assert ten["gain_percent"] == pytest.approx(expected)
    assert at_uniform_sizes(found) == {"4": pytest.approx(0.0), "8": pytest.approx(0.0)}


def test_mixed_bits_are_chosen_only_where_that_is_more_than_chance():
    bits = np.asarray([(2, 2), (4, 2), (2, 4), (4, 4)], np.int32)
    gains = np.asarray(
        [
            [0.0, 0.0, 0.0, 0.0],
            # In the mean better than the next one; its parts do not agree.
            [0.9, -0.1, 0.8, -0.2],
            [0.1, 0.11, 0.1, 0.09],
            [0.2, 0.2, 0.2, 0.2],
        ]
    )
    found = assignments_of(bits, 2.0 - gains.mean(1), np.full(4, 2.0))
    found = dataclasses.replace(found, parts=2.0 - gains)
    assert found.search[1] < found.search[2]
    assert found.bits[found.chosen_within(0.6)].tolist() == [2, 4]
    assert found.bits[found.chosen_within(0.8)].tolist() == [4, 4]
    assert found.bits[found.front()].tolist() == [[2, 2], [2, 4], [4, 4]]
    rows = np.asarray([0, 1, 3])
    without = dataclasses.replace(found, finalists=rows, parts=found.parts[rows])
    assert without.bits[without.chosen_within(0.6)].tolist() == [2, 2]
    assert without.bits[without.front()].tolist() == [[2, 2], [4, 4]]


def test_finalists_are_the_best_under_every_budget_and_layers_alike():
    bits = np.asarray(list(itertools.product((2, 4, 8), repeat=3)), np.int32)
    sizes = bits.sum(1) / 10
    losses = np.random.default_rng(0).random(len(bits))
    rows = finalists(bits, sizes, losses)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert {0, 13, 26} <= set(rows.tolist())
    for size in sizes:
        small = sizes <= size
        best = np.sort(losses[small])[:4]
        assert set(best) <= set(losses[rows])
    assert len(rows) < len(bits)


def test_losses_are_means_over_parts_of_equal_size():
    trainer = Trainer(TINY, 2)
    model = TINY.precise()
    params = nnx.state(model.build(rngs=nnx.Rngs(0)), nnx.Param)
    rows = np.stack([model.space().largest, model.space().smallest])
    apart = trainer.losses_of_parts(params, rows, "search", model, 4, 2)
    assert apart.shape == (2, 2)
    together = trainer.losses(params, rows, "search")
    assert apart.mean(1) == pytest.approx(np.asarray(together), rel=1e-6)
    first, last = (part["loss"] for part in halves(trainer, params, rows, model))
    assert apart == pytest.approx(np.stack([first, last], axis=1), rel=1e-6)


def halves(trainer, params, rows, model):
    evaluate = make_evaluate(trainer.network(model), model.space())
    inputs, targets = TINY.data.fixed("search", 4)
    for half in (slice(0, 2), slice(2, 4)):
        yield evaluate(params, rows, inputs[half], targets[half])


def sizes():
    return [a + b for a in (2, 4, 8) for b in (2, 4, 8)]


def test_importance_is_told_beside_the_mean_order():
    found = by_importance(assignments(), SCORES)
    # By LIM the first layer is more important, by ZD the second.
    assert [entry["bits"] for entry in found["LIM"]] == [[4, 2], [8, 4]]
    assert [entry["bits"] for entry in found["ZD"]] == [[2, 4], [4, 8]]
    for lim, zd in zip(found["LIM"], found["ZD"], strict=True):
        assert lim["order"] == pytest.approx((lim["loss"] + zd["loss"]) / 2)
        assert lim["gain_percent"] > 0 > zd["gain_percent"]
        assert lim["best"] == lim["loss"]


def test_predictors_order_what_they_did_not_learn_from():
    space = dataclasses.replace(TINY.precise().stack, depth=(4,)).space()
    genotypes = space.enumerate()
    bits = bits_of(space, genotypes)
    losses = 1.0 + (1.0 / bits).sum(1)
    found = assignments_of(bits, losses, losses)
    taus = rank_correlations(space, genotypes, found)
    assert {len(values) for values in taus.values()} == {5}
    assert min(map(min, taus.values())) > 0.7
    stored = told(found, SCORES_OF_FOUR, taus)
    assert json.loads(json.dumps(stored)) == stored
    assert stored["learnt_from"] == 40
    assert stored["budgets_at_least_as_good"] == stored["budgets"]


SCORES_OF_FOUR = LayerScores(np.arange(4, dtype="f"), np.arange(4, dtype="f"))


def test_an_interrupted_study_goes_on_and_finds_the_same(fake, tmp_path):
    whole = study(tmp_path / "whole")
    whole.run()
    expected = benchmark.summary(whole, None)
    for lives in (3, 6):
        fake.lives = lives
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "killed").run()
    fake.lives, fake.trained = float("inf"), []
    killed = study(tmp_path / "killed")
    killed.run()
    assert benchmark.summary(killed, None) == expected
    assert "learned 2 0" not in fake.trained
    with pytest.raises(UsageError, match="give another --out"):
        study(tmp_path / "killed", steps=3).run()


def test_all_are_trained_once_for_each_seed(fake, tmp_path):
    found = study(tmp_path, seeds=(0,))
    found.run()
    assert fake.trained == [
        "learned Sandwich 0",
        "learned MatFormer 0",
        "learned 16 0",
        "learned 2 0",
        "learned 4 0",
        "learned 8 0",
        "nested MatFormer 0",
        "nested 8 0",
    ]
    found.run()
    assert len(fake.trained) == 8


def test_gaps_are_percentages_above_the_network_of_those_bits_alone(results):
    assert json.loads(json.dumps(results)) == results
    assert benchmark.gap(results, "elastic", "4") == pytest.approx(0.0, abs=1e-3)
    assert benchmark.gap(results, "rounded", "2") > benchmark.gap(
        results, "rounded", "8"
    )
    above = above_whole(results, "rounded")
    assert above.shape == (2, 3)
    assert (above[:, :-1] > above[:, 1:]).all()


def test_lines_of_the_readme_say_gaps_gains_and_correlations(results):
    lines = benchmark.readme_rows(results)
    assert lines[0] == (
        "| One network of all bits: 8 / 4 / 2 bits | +0.0% / +0.0% / +0.0%; at 8, 4 "
        "bits 2 of 2 within 1% |"
    )
    start = "| Best of 9 assignments of bits to layers, trained on random assignments"
    assert lines[-4].startswith(start)
    assert "of 9 sizes" not in lines[-4]
    assert "trained with all layers alike" in lines[-3]
    assert "LIM -" in lines[-2]
    assert "Kendall tau" in lines[-1]
    assert not any("Qwix" in line for line in lines)


def test_the_figure_shows_every_training_and_assignment(results):
    points = [{"size_mb": 0.001, "loss": 1.4}, {"size_mb": 0.002, "loss": 1.2}]
    joint = {"name": "mine", "steps": 8, "front": points}
    for drawn, parts in ((results, 2), (results | {"joint": joint}, 3)):
        figure = precision_figure(drawn)
        left, right, *others = (part.axes[0] for part in figure.subfigs)
        assert len(others) == parts - 2
        # The line of no loss beside those of trainings.
        assert len(left.lines) == 1 + 5
        low, high = left.get_ylim()
        losses = [above_whole(results, name) for name in results["widths"]]
        assert low < min(map(np.min, losses))
        assert high > max(map(np.max, losses))
        assert len(right.lines) == 6
        assert [text.get_text() for text in right.texts] == ["2", "4", "8"]
        assert len(right.collections[0].get_offsets()) == 9
        assert drawing.to_png(figure).startswith(b"\x89PNG")


def test_the_front_of_a_run_needs_sizes(tmp_path):
    space = TINY.precise().space()
    entries = [
        {
            "arch": space.decode(space.largest).to_json(),
            "metrics": {"size_mb": size, "test_loss": 3 - size},
            "predicted": {},
            "why": "",
        }
        for size in (0.2, 0.1)
    ]
    (tmp_path / "mine").mkdir()
    run = RunDirectory(tmp_path / "mine")
    run.claim(elastic_bits_lm.experiment)
    write_json(run.front, entries)
    joint = benchmark.joint_front(run.path)
    assert [point["size_mb"] for point in joint["front"]] == [0.1, 0.2]
    assert joint["front"][0]["loss"] == pytest.approx(2.9)
    assert joint["steps"] == elastic_bits_lm.experiment.train.steps
    found = study(tmp_path)
    found.run()
    told = benchmark.summary(found, joint)["command"]
    assert told == f"{benchmark.COMMAND} --run runs/mine"
    del entries[0]["metrics"]["size_mb"]
    write_json(run.front, entries)
    with pytest.raises(UsageError, match="has no size_mb; give the run of a recipe"):
        benchmark.joint_front(run.path)


def test_a_seed_fixes_the_data_and_the_weights():
    trainer = Trainer(TINY, 2)
    start = trainer.whole(0)
    job = Job(policy=Alone(bits=4))
    first, same, other = (
        trainer.of_widths(trainer.finished(job, start, seed), (4,), "test")
        for seed in (0, 0, 1)
    )
    assert first == same
    assert first != other
    assert 4 < first[0] < 7


def test_the_command_trains_and_records(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setattr(benchmark, "SETTING", TINY)
    words = ["precision", "--steps", "2", "--seeds", "1"]
    folders = ["--out", str(tmp_path / "out"), "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", [*words, *folders])
    benchmark.main()
    results = json.loads((tmp_path / "results" / "precision.json").read_text())
    assert results["steps"] == 2
    assert results["assignments"]["mixed"]["count"] == 9
    assert (tmp_path / "results" / "precision.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert benchmark.readme_rows(results)[0] in printed
