"""Recipes of full size take real steps, on files made here and with smaller numbers."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from nas.config import load_recipe
from nas.rundir import RunDirectory, read_json_lines
from nas.stages.context import Context
from nas.stages.train import train
from supernets.sharding.spec import Parallel
from tests.nas.data.stored import write_folder, write_tokens


def trained(path, experiment):
    run = RunDirectory(path)
    run.claim(experiment)
    screen = Console(file=io.StringIO(), width=400)
    train(Context(experiment=experiment, run=run, console=screen, command="nas train"))
    lines = read_json_lines(run.metrics)
    assert "warning" not in screen.file.getvalue()
    return [
        [line[kind] for line in lines if kind in line]
        for kind in ("validation", "training")
    ]


def shortened(recipe, **changes):
    train = dataclasses.replace(
        recipe.train, steps=8, validate_every=8, checkpoint_every=8, **changes
    )
    search = dataclasses.replace(recipe.search, examples=8)
    return dataclasses.replace(recipe, train=train, search=search)


@pytest.mark.long
def test_the_vision_transformer_learns_from_a_folder(tmp_path):
    recipe = load_recipe("experiments.imagenet_vit")
    folder = write_folder(tmp_path / "images")
    model = dataclasses.replace(
        recipe.model,
        image=(16, 16, 3),
        patch=8,
        classes=folder.classes,
        width=(16, 32),
        heads=(1, 2),
        ffn=(16, 32),
        depth=(1, 2),
        head_dim=16,
    )
    data = dataclasses.replace(
        recipe.data, path=folder.path, side=16, classes=folder.classes
    )
    reading = dataclasses.replace(recipe.train.reading, workers=0, threads=2)
    small = shortened(recipe, batch=8, reading=reading)
    small = dataclasses.replace(small, model=model, data=data)
    validated, _ = trained(tmp_path / "run", small)
    assert np.isfinite(list(validated[-1].values())).all()


@pytest.mark.long
def test_the_decoder_learns_from_shards_on_four_devices(tmp_path):
    recipe = load_recipe("experiments.tokens_lm")
    shards = write_tokens(tmp_path / "tokens")
    model = dataclasses.replace(
        recipe.model,
        vocabulary=shards.vocabulary,
        width=(32, 64),
        heads=(4, 8),
        ffn=(32, 64),
        depth=(1, 2),
        head_dim=8,
    )
    small = shortened(
        recipe,
        batch=16,
        accumulate=2,
        parallel=Parallel(fsdp=2, tensor=2),
        # In so few steps a rate for a thousand times as many weights moves nothing.
        optimizer=dataclasses.replace(recipe.train.optimizer, learning_rate=1e-2),
    )
    experiment = dataclasses.replace(small, model=model, data=shards)
    (begun, ended), (learnt,) = trained(tmp_path / "run", experiment)
    assert np.isfinite(list(ended.values())).all()
    # The tokens are random: they can be learnt by heart, and no others from them.
    assert learnt["largest"] < begun["largest"] - 0.5
