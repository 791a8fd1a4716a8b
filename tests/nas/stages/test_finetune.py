"""Fine-tuning the front: both scores are told, and each subnet is done once."""

import dataclasses
import importlib
import io
import math

import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from safetensors.numpy import load_file, save_file

from nas.data import StdlibText
from nas.errors import RunError
from nas.experiment import Experiment, Search
from nas.export import Source
from nas.finetuning import FineTune, Retrain
from nas.front import Member, load_front, write_front
from nas.rundir import RunDirectory
from nas.stages.context import Context
from nas.supernet import load_supernet
from supernets.decoder.spec import Decoder
from supernets.weights import flat_weights, host_copy

pytestmark = pytest.mark.slow

stage = importlib.import_module("nas.stages.finetune")

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
TUNED = FineTune(steps=4, learning_rate=1e-2, batch=4)
EXPERIMENT = Experiment(
    model=MODEL,
    data=StdlibText(tokens=16),
    search=Search(finetune=TUNED, examples=4),
)


def front_of(loss):
    space = MODEL.space()
    metrics = {"loss": loss, "test_loss": 8.0, "latency_ms": 1.0, "params": 1.0}
    return [
        Member(space.decode(genotype), metrics, {"latency_ms": 1.0}, "")
        for genotype in (space.smallest, space.largest)
    ]


def context_at(path, experiment=EXPERIMENT, loss=9.0):
    """A run with random weights whose front is as bad as is told."""
    run = RunDirectory(path)
    run.claim(experiment)
    supernet = MODEL.build(rngs=nnx.Rngs(0))
    save_file(host_copy(flat_weights(supernet)), run.supernet)
    write_front(run.front, front_of(loss))
    console = Console(file=io.StringIO(), width=200)
    return Context(experiment=experiment, run=run, console=console, command="nas run")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    context = context_at(tmp_path_factory.mktemp("runs") / "whole")
    stage.finetune(context)
    return context


def said(context):
    return context.console.file.getvalue()


def test_the_front_has_scores_before_and_after(finished):
    for member in load_front(finished.run.front):
        assert (member.metrics["loss"], member.metrics["test_loss"]) == (9.0, 8.0)
        assert 0 < member.metrics["finetuned_loss"] < 9.0
        assert member.metrics["finetuned_test_loss"] > 0
        assert 0 < member.metrics["finetuned_test_error"] <= 1
        assert member.weights == "finetuned"
    assert "finetune: 8/8 steps" in said(finished)
    assert "2 of 2 subnets are better for it on the search split" in said(finished)


def test_the_better_weights_are_exported(finished):
    run = finished.run
    supernet = load_supernet(run)
    source = Source(EXPERIMENT, supernet, run.finetuned)
    member = load_front(run.front)[0]
    stored = load_file(run.finetuned / member.id / "model.safetensors")
    tuned = flat_weights(source.network(member))
    inherited = source.network(dataclasses.replace(member, weights="inherited"))
    for name, weight in flat_weights(inherited).items():
        np.testing.assert_array_equal(tuned[name], stored[name])
        assert weight.shape == stored[name].shape
    assert any(
        not np.array_equal(weight, stored[name])
        for name, weight in flat_weights(inherited).items()
    )


def test_a_damaged_file_of_weights_is_named(finished, tmp_path):
    run = finished.run
    member = load_front(run.front)[0]
    (tmp_path / member.id).mkdir()
    (tmp_path / member.id / "model.safetensors").write_bytes(b"torn")
    source = Source(EXPERIMENT, load_supernet(run), tmp_path)
    with pytest.raises(RunError, match=r"model\.safetensors is damaged .*; remove"):
        source.network(member)


def test_weights_that_are_no_better_are_left_out(finished, monkeypatch, tmp_path):
    context = context_at(tmp_path / "worse", loss=0.1)
    # What was trained is there already, so that nothing is trained again.
    finished.run.finetuned.rename(context.run.finetuned)
    monkeypatch.setattr(stage, "train_alone", None)
    stage.finetune(context)
    context.run.finetuned.rename(finished.run.finetuned)
    for member in load_front(context.run.front):
        assert member.weights == "inherited"
        assert member.metrics["finetuned_loss"] > member.metrics["loss"]
    assert "0 of 2 subnets are better" in said(context)


def test_killed_between_subnets_it_goes_on_with_the_next(monkeypatch, tmp_path):
    context = context_at(tmp_path / "killed")
    trained = []

    def killed_at_the_second(network, *_, on_step):
        trained.append(network)
        if len(trained) == 2:
            raise KeyboardInterrupt
        on_step(1.0)

    monkeypatch.setattr(stage, "train_alone", killed_at_the_second)
    monkeypatch.setattr(stage, "score_alone", lambda *_, **__: {"loss": 1.0})
    with pytest.raises(KeyboardInterrupt):
        stage.finetune(context)
    assert len(list(context.run.finetuned.iterdir())) == 1
    assert "finetuned_loss" not in load_front(context.run.front)[0].metrics
    stage.finetune(context)
    assert len(trained) == 3
    assert all("finetuned_loss" in m.metrics for m in load_front(context.run.front))


def test_a_loss_that_is_not_finite_is_told_with_its_subnet(monkeypatch, tmp_path):
    context = context_at(tmp_path / "nan")
    monkeypatch.setattr(
        stage, "train_alone", lambda *_, on_step, **__: on_step(math.nan)
    )
    name = load_front(context.run.front)[0].id
    message = rf"subnet {name}: the loss of step 1 is not finite\. Lower search\.fine"
    with pytest.raises(RunError, match=message):
        stage.finetune(context)
    assert not context.run.finetuned.exists()


def test_subnets_trained_from_scratch_are_told_beside_what_they_inherit(tmp_path):
    again = Retrain(steps=2, learning_rate=1e-2, batch=4)
    search = dataclasses.replace(EXPERIMENT.search, finetune=None, retrain=again)
    context = context_at(tmp_path, dataclasses.replace(EXPERIMENT, search=search))
    stage.finetune(context)
    for member in load_front(context.run.front):
        assert member.metrics["loss"] == 9.0
        assert member.metrics["retrained_loss"] > 0
        assert 0 < member.metrics["retrained_test_error"] <= 1
        assert "finetuned_loss" not in member.metrics
        assert member.weights == "inherited"
        stored = load_file(
            context.run.finetuned / "retrained" / member.id / "model.safetensors"
        )
        inherited = MODEL.extract(load_supernet(context.run), member.arch)
        for name, weight in flat_weights(inherited).items():
            assert stored[name].shape == weight.shape
    before = context.run.front.read_bytes()
    stage.finetune(context)
    assert context.run.front.read_bytes() == before
    assert said(context).count("retrain: 4/4 steps") >= 1


def test_without_it_the_front_stays_as_it_is(tmp_path):
    search = dataclasses.replace(EXPERIMENT.search, finetune=None)
    context = context_at(tmp_path, dataclasses.replace(EXPERIMENT, search=search))
    before = context.run.front.read_bytes()
    stage.finetune(context)
    assert context.run.front.read_bytes() == before
    assert said(context) == ""


@pytest.mark.parametrize("kind", [FineTune, Retrain])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch": -1}, "batch must be at least 1, got -1"),
        ({"learning_rate": 0.0}, r"learning_rate must be positive, got 0\.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
    ],
)
def test_values_out_of_range_are_refused(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(**values)
