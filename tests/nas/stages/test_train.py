"""Training as a stage: it resumes exactly, says what it does, and stops in time."""

import dataclasses
import io
import re
import shutil
import signal
from unittest.mock import create_autospec

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from safetensors.numpy import load_file

from nas.config import load_recipe
from nas.errors import RunError, Stopped
from nas.experiment import Training
from nas.panel import load_panel
from nas.rundir import RunDirectory, read_json_lines
from nas.stages.context import Context
from nas.stages.train import train
from nas.supernet import load_supernet
from nas.training import loop as training_loop
from nas.training import steps as training_steps
from nas.training.loop import Loop
from nas.training.record import (
    training_curves,
    training_warnings,
    validation_curves,
)
from nas.training.watch import Watch
from supernets.activity import active_entries
from supernets.decoder.spec import Decoder
from supernets.lowering import fixed_extents
from supernets.optimizers.adamw import AdamW
from supernets.phases import Phase
from supernets.policies.sandwich import Sandwich
from supernets.policies.uniform import Uniform
from supernets.sharding.spec import Parallel
from supernets.training import CompiledStep, StepMetrics

MODEL = Decoder(width=(8,), heads=(1,), ffn=(8, 16, 24, 32), depth=(1, 2), head_dim=8)
ONE = Uniform(subnets=1)
PLAN = Training(
    steps=40,
    batch=4,
    # Phases with the same slots share one program, which keeps these tests short.
    phases=(
        Phase(policy=ONE, elastic=("ffn",), share=0.6),
        Phase(policy=ONE, sort=("width", "ffn"), share=0.4),
    ),
    optimizer=AdamW(learning_rate=3e-2),
    validate_every=5,
    checkpoint_every=12,
    parallel=Parallel(data=1),
)


@pytest.fixture(scope="module", autouse=True)
def _compiled_quickly():
    """Compiles in a hurry where tests do not: the same few steps are trained often."""
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)


def context_of(path, plan=PLAN, model=MODEL):
    quickstart = load_recipe("experiments.quickstart")
    data = dataclasses.replace(quickstart.data, tokens=16)
    experiment = dataclasses.replace(quickstart, model=model, data=data, train=plan)
    run = RunDirectory(path)
    run.claim(experiment)
    screen = Console(file=io.StringIO(), width=400)
    return Context(
        experiment=experiment, run=run, console=screen, command="nas train", lock=-1
    )


def said(context):
    return context.console.file.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was trained without an interruption."""
    context = context_of(tmp_path_factory.mktemp("run"))
    train(context)
    return context


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished run, whose weights are yet to be written."""
    shutil.copytree(finished.run.path, tmp_path, dirs_exist_ok=True)
    (tmp_path / "supernet.safetensors").unlink()
    return context_of(tmp_path)


def assert_same(run, expected):
    assert run.supernet.read_bytes() == expected.supernet.read_bytes()
    assert run.metrics.read_bytes() == expected.metrics.read_bytes()
    assert run.panel.read_bytes() == expected.panel.read_bytes()


@pytest.mark.slow
def test_training_from_an_older_checkpoint_ends_with_the_same_bits(
    finished, again, sorted_at
):
    newest = max(again.run.checkpoints.iterdir(), key=lambda path: int(path.name))
    assert newest.name == "40"
    for file in newest.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    train(again)
    assert_same(again.run, finished.run)
    assert "checkpoint of step 40" in said(again)
    assert "is damaged and was passed over" in said(again)
    # Neither a mean of training losses nor a phase begins there.
    assert "resuming training at step 36" in said(again)
    assert sorted_at == []
    assert "phase 2 of 2" in said(again)
    assert "phase 1 of 2" not in said(again)


@pytest.fixture
def sorted_at(monkeypatch):
    """Counts how often channels are sorted."""
    sort, calls = training_loop.sort_state, []

    def counted(*arguments, within):
        calls.append(within)
        return sort(*arguments, within=within)

    monkeypatch.setattr(training_loop, "sort_state", counted)
    return calls


@pytest.mark.slow
def test_channels_are_sorted_once_however_often_a_phase_is_resumed(
    finished, tmp_path, monkeypatch, sorted_at
):
    context, validate = context_of(tmp_path), Watch.validate

    def interrupted(watch, step, params):
        if step == 30:
            raise KeyboardInterrupt
        validate(watch, step, params)

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "validate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(context)
    # The sizes that the first phase trained keep their channels.
    assert sorted_at == [{"ffn": (8, 16, 24, 32), "width": (8,), "heads": (1,)}]
    # The checkpoint is that of the last step before the phase.
    train(context)
    assert "resuming training at step 24" in said(context)
    assert len(sorted_at) == 2
    assert_same(context.run, finished.run)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [{}, {"fsdp": 2, "tensor": 2}])
def test_training_on_four_devices_resumes_with_the_same_bits(tmp_path, axes):
    model = dataclasses.replace(MODEL, heads=(2,), head_dim=4)
    plan = dataclasses.replace(PLAN, parallel=Parallel(**axes))
    whole = context_of(tmp_path / "whole", plan, model)
    train(whole)
    again = context_of(tmp_path / "again", plan, model)
    shutil.copytree(whole.run.path, again.run.path, dirs_exist_ok=True)
    shutil.rmtree(again.run.checkpoints / "40")
    again.run.supernet.unlink()
    train(again)
    assert "resuming training at step 36" in said(again)
    assert_same(again.run, whole.run)
    # On one device, within rounding.
    moved = dataclasses.replace(plan, parallel=Parallel(data=1))
    alone = context_of(tmp_path / "alone", moved, model)
    shutil.copytree(whole.run.path, alone.run.path, dirs_exist_ok=True)
    alone.run.claim(alone.experiment)
    shutil.rmtree(alone.run.checkpoints / "40")
    train(alone)
    ours, theirs = (load_file(c.run.supernet) for c in (alone, whole))
    for name, weight in ours.items():
        np.testing.assert_allclose(weight, theirs[name], atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_a_signal_saves_at_any_step_and_training_goes_on_with_the_same_bits(
    finished, tmp_path, monkeypatch
):
    context, validate = context_of(tmp_path), Watch.validate

    def terminated(watch, step, params):
        if step == 25:
            signal.raise_signal(signal.SIGTERM)
        return validate(watch, step, params)

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "validate", terminated)
        with pytest.raises(
            Stopped, match="SIGTERM after step 25; step 25 is saved"
        ) as e:
            train(context)
    assert e.value.code == 143
    train(context)
    assert "resuming training at step 25" in said(context)
    # A mean that was not told yet is kept, too.
    assert_same(context.run, finished.run)


@pytest.mark.slow
def test_training_without_its_checkpoints_starts_again(finished, again):
    shutil.rmtree(again.run.checkpoints)
    train(again)
    assert_same(again.run, finished.run)
    steps = [line["step"] for line in read_json_lines(again.run.metrics)]
    assert steps == sorted(steps)
    assert steps.count(0) == 1


def test_phases_are_told_as_they_begin(finished):
    first = "phase 1 of 2: ffn open (Uniform, steps 1 to 24)"
    second = "phase 2 of 2: all open (Uniform, steps 25 to 40, width, ffn sorted)"
    assert said(finished).index(first) < said(finished).index(second)


def test_the_panel_is_validated_and_its_costs_are_kept(finished):
    members = load_panel(finished.run.panel)
    curves = validation_curves(finished.run)
    assert [curve.label for curve in curves] == list(members)
    assert {"smallest", "middle", "largest"} < set(members)
    for curve in curves:
        assert curve.cost == members[curve.label].macs
        assert curve.steps == tuple(range(0, 41, 5))
        assert curve.values[-1] < curve.values[0]
    (line, *_) = read_json_lines(finished.run.metrics)
    assert set(line["scores"]["error"]) == set(members)


def test_losses_are_logged_by_role_as_means_that_end_at_checkpoints(finished):
    curves = {curve.label: curve for curve in training_curves(finished.run)}
    assert "sampled" in curves
    assert set(curves) <= {"sampled", "largest"}
    assert curves["sampled"].steps == (10, 12, 20, 24, 30, 36, 40)


def test_a_good_run_has_no_warnings(finished):
    assert training_warnings(finished.run, "bits per byte") == ()
    assert "warning" not in said(finished)


def test_a_collapse_is_told_logged_and_shown(finished, again):
    loop = Loop.prepare(again)
    loop.log.forget_after(25)
    loop.watch.resume()
    panel, space = loop.watch.panel, loop.plan.whole
    own, other = (
        active_entries(loop.supernet, fixed_extents(space, genotype))
        for genotype in panel.genotypes[[-1, -2]]
    )
    params = nnx.state(load_supernet(finished.run), nnx.Param)
    # Only the largest uses them: the others do not notice.
    ruined = jax.tree.map(
        lambda weights, mine, theirs: jnp.where(mine & ~theirs, 30.0, weights),
        params,
        own,
        other,
    )
    loop.watch.validate(30, ruined)
    assert "warning" not in said(again)
    loop.watch.validate(35, ruined)
    loop.watch.validate(40, ruined)
    lines = read_json_lines(again.run.metrics)
    (told,) = [line for line in lines if "collapse" in line]
    assert (told["step"], told["collapse"]["label"]) == (35, "largest")
    largest = space.decode(space.largest).to_json()
    assert told["collapse"]["arch"] == largest
    (shown,) = training_warnings(again.run, "bits per byte")
    assert said(again).count("warning: the largest subnet (layers 2, width 8,") == 1
    for text in (said(again), shown):
        assert re.search(r"ffn 32 .* bits per byte at step 35, .* at step \d+", text)
    assert "training ended with" in shown
    losses = lines[-1]["validation"]
    assert all(losses[name] < 0.9 * losses["largest"] for name in panel.labels[:-1])


def test_training_starts_from_the_weights_of_another_run(
    finished, tmp_path, monkeypatch
):
    start, phases = str(finished.run.path), (Phase(policy=ONE),)
    plan = dataclasses.replace(PLAN, steps=2, start=start, phases=phases)
    metrics = metrics_of(np.ones(1, np.float32))
    without_steps(monkeypatch, metrics)
    context = context_of(tmp_path, plan)
    train(context)
    assert context.run.supernet.read_bytes() == finished.run.supernet.read_bytes()
    begun, ended = (
        [line for line in read_json_lines(run.metrics) if "validation" in line]
        for run in (context.run, finished.run)
    )
    assert begun[0]["step"] == 0
    assert begun[0]["validation"] == ended[-1]["validation"]


def metrics_of(losses, norms=None):
    norms = np.ones_like(losses) if norms is None else norms
    return StepMetrics(losses, np.sum(norms), norms)


def step_of(run):
    """Returns what passes for a compiled step."""
    return create_autospec(CompiledStep, instance=True, side_effect=run)


def without_steps(monkeypatch, *metrics):
    """Replaces training steps by ones that change nothing and tell these metrics."""
    told = iter(metrics)
    last = metrics[-1]
    monkeypatch.setattr(
        training_steps,
        "make_train_step",
        lambda *_, **__: step_of(lambda state, *_: (state, next(told, last))),
    )


def without_scores(monkeypatch):
    monkeypatch.setattr(
        training_loop,
        "make_evaluate",
        lambda *_, **__: lambda _, rows, *__: {"loss": np.ones(len(rows))},
    )


SANDWICH = dataclasses.replace(PLAN, phases=(Phase(policy=Sandwich(random=1)),))


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (0, "the largest subnet"),
        (1, "the smallest subnet"),
        (2, r"the sampled subnet \{'layers': \[.*'ffn': \[.*\]\}"),
    ],
)
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_lost_numbers_stop_the_run_and_the_last_checkpoint_is_kept(
    tmp_path, monkeypatch, row, name, what
):
    losses, norms = np.ones(3, np.float32), np.ones(3, np.float32)
    good = metrics_of(losses.copy())
    {"loss": losses, "gradient": norms}[what][row] = np.nan
    without_steps(monkeypatch, good, good, good, metrics_of(losses, norms))
    without_scores(monkeypatch)
    plan = dataclasses.replace(SANDWICH, checkpoint_every=1)
    context = context_of(tmp_path, plan)
    message = (
        rf"the {what} of {name} is not finite at step 4; the "
        r"last good checkpoint, step 3, is kept in .*Lower the learning rate .*another"
    )
    with pytest.raises(RunError, match=message):
        train(context)
    assert (context.run.checkpoints / "3").is_dir()
    assert not context.run.supernet.exists()


def test_a_subnet_that_was_not_run_has_no_loss(tmp_path, monkeypatch):
    losses = np.asarray([1.0, np.nan, np.nan], np.float32)
    without_steps(monkeypatch, metrics_of(losses))
    without_scores(monkeypatch)
    phase = Phase(policy=Sandwich(random=1), full=1.0)
    context = context_of(tmp_path, dataclasses.replace(PLAN, phases=(phase,)))
    train(context)
    assert [curve.label for curve in training_curves(context.run)] == ["largest"]


def test_only_phases_that_learn_from_the_frozen_teacher_are_given_it(
    finished, tmp_path, monkeypatch
):
    given = []
    monkeypatch.setattr(
        training_steps,
        "make_train_step",
        lambda *_, frozen, **__: given.append(frozen) or step_of(None),
    )
    phases = (
        Phase(policy=Sandwich(random=0)),
        Phase(policy=Sandwich(random=0, teacher="frozen")),
    )
    plan = dataclasses.replace(PLAN, phases=phases, teacher=str(finished.run.path))
    Loop.prepare(context_of(tmp_path, plan))
    nobody, teacher = given
    assert nobody is None
    expected = nnx.state(load_supernet(finished.run), nnx.Param)
    jax.tree.map(np.testing.assert_array_equal, teacher, expected)
