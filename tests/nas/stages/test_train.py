"""Training as a stage: it resumes exactly, and stops when numbers are lost."""

import dataclasses
import importlib
import io
import re
import shutil

import numpy as np
import pytest
from rich.console import Console

from nas.config import load_recipe
from nas.errors import RunError
from nas.experiment import Training
from nas.rundir import RunDirectory, read_json_lines
from nas.stages.context import Context
from nas.stages.train import train
from supernets.decoder.spec import Decoder
from supernets.optimizer import AdamW
from supernets.sandwich import Sandwich
from supernets.training import StepMetrics

stage = importlib.import_module("nas.stages.train")

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=8)
PLAN = Training(
    steps=6,
    batch=2,
    policy=Sandwich(random=1),
    validate_every=3,
    checkpoint_every=2,
)


def context_of(path, plan=PLAN):
    quickstart = load_recipe("experiments.quickstart")
    data = dataclasses.replace(quickstart.data, tokens=16)
    experiment = dataclasses.replace(quickstart, model=MODEL, data=data, train=plan)
    run = RunDirectory(path)
    run.claim(experiment)
    screen = Console(file=io.StringIO(), width=400)
    return Context(
        experiment=experiment, run=run, console=screen, command="nas train", lock=-1
    )


def test_training_from_an_older_checkpoint_ends_with_the_same_bits(tmp_path):
    context = context_of(tmp_path)
    run = context.run
    train(context)
    weights, metrics = run.supernet.read_bytes(), run.metrics.read_bytes()
    run.supernet.unlink()
    newest = max(run.checkpoints.iterdir(), key=lambda path: int(path.name))
    assert newest.name == "6"
    for file in newest.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    train(context)
    assert run.supernet.read_bytes() == weights
    assert run.metrics.read_bytes() == metrics
    said = context.console.file.getvalue()
    assert "checkpoint of step 6" in said
    assert "is damaged and was passed over" in said
    assert "resuming training at step 4" in said


def test_training_without_its_checkpoints_starts_again(tmp_path):
    context = context_of(tmp_path)
    train(context)
    weights = context.run.supernet.read_bytes()
    shutil.rmtree(context.run.checkpoints)
    train(context)
    assert context.run.supernet.read_bytes() == weights
    steps = [line["step"] for line in read_json_lines(context.run.metrics)]
    assert steps == sorted(steps)
    assert steps.count(0) == 1


def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    optimizer = AdamW(learning_rate=1e30)
    plan = dataclasses.replace(PLAN, optimizer=optimizer, checkpoint_every=1)
    context = context_of(tmp_path, plan)
    message = (
        r"is not finite at step (\d+); the last good checkpoint, step (\d+), is kept "
        r"in .*Lower the learning rate .*another --out"
    )
    with pytest.raises(RunError, match=message) as caught:
        train(context)
    lost, good = map(int, re.search(message, str(caught.value)).groups())
    assert good == lost - 1
    assert (context.run.checkpoints / str(good)).is_dir()
    assert not context.run.supernet.exists()


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (0, "the largest subnet"),
        (1, "the smallest subnet"),
        (2, r"the sampled subnet \{'layers': \[.*'ffn': \[.*\]\}"),
    ],
)
def test_a_lost_loss_is_told_with_its_subnet(tmp_path, monkeypatch, row, name):
    losses = np.ones(3, np.float32)
    losses[row] = np.nan
    metrics = StepMetrics(losses, np.float32(1.0))
    monkeypatch.setattr(
        stage, "make_train_step", lambda *_, **__: lambda state, *_: (state, metrics)
    )
    monkeypatch.setattr(
        stage, "make_evaluate", lambda *_, **__: lambda *_: np.ones(3, np.float64)
    )
    message = rf"the loss of {name} is not finite at step 1; the last good .*step 0"
    with pytest.raises(RunError, match=message):
        train(context_of(tmp_path))
