"""Other runs that a training needs: there, of the right shape, and of use."""

import dataclasses
import io

import jax
import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from safetensors.numpy import load_file, save_file

from nas.config import load_recipe
from nas.errors import RunError, UsageError
from nas.job import run_stages
from nas.rundir import RunDirectory
from nas.training.pretrained import frozen_teacher, set_start
from nas.training.sources import check_sources
from supernets.losses.feature_distillation import FeatureDistillation
from supernets.losses.losses import Losses
from supernets.phases import Phase
from supernets.policies.sandwich import Sandwich
from supernets.weights import flat_weights, host_copy

QUICKSTART = load_recipe("experiments.quickstart")
TAUGHT = Phase(policy=Sandwich(teacher="frozen"))


def experiment_with(**training):
    train = dataclasses.replace(QUICKSTART.train, **training)
    model = dataclasses.replace(
        QUICKSTART.model, width=(8, 16), heads=(1,), ffn=(8, 16, 24), depth=(1, 2)
    )
    return dataclasses.replace(QUICKSTART, model=model, train=train)


def built(experiment, seed=0):
    return experiment.model.build(rngs=nnx.Rngs(seed))


def shapes_of(experiment):
    return nnx.eval_shape(lambda: built(experiment))


@pytest.fixture
def trained(tmp_path):
    """The directory of a run with weights."""
    run = RunDirectory(tmp_path / "other")
    experiment = experiment_with()
    run.claim(experiment)
    save_file(host_copy(flat_weights(built(experiment, seed=7))), run.supernet)
    return run


def test_without_other_runs_there_is_nothing_to_check():
    experiment = experiment_with()
    check_sources(experiment)
    assert frozen_teacher(experiment, shapes_of(experiment)) is None


def test_weights_to_start_from_replace_the_random_ones(trained):
    experiment = experiment_with(start=str(trained.path))
    check_sources(experiment)
    supernet = built(experiment)
    set_start(experiment, supernet)
    stored = load_file(trained.supernet)
    for name, weight in flat_weights(supernet).items():
        assert isinstance(weight, jax.Array)
        np.testing.assert_array_equal(weight, stored[name])


def test_a_teacher_has_the_weights_of_its_run_and_changes_nothing_here(trained):
    experiment = experiment_with(teacher=str(trained.path), phases=(TAUGHT,))
    check_sources(experiment)
    supernet = built(experiment)
    before = host_copy(flat_weights(supernet))
    teacher = frozen_teacher(experiment, supernet)
    expected = nnx.state(built(experiment_with(), seed=7), nnx.Param)
    jax.tree.map(np.testing.assert_array_equal, teacher, expected)
    for name, weight in flat_weights(supernet).items():
        np.testing.assert_array_equal(weight, before[name])


@pytest.mark.parametrize("field", ["start", "teacher"])
def test_a_run_that_is_missing_is_told(tmp_path, field):
    phases = (TAUGHT,) if field == "teacher" else QUICKSTART.train.phases
    path = tmp_path / "nowhere"
    experiment = experiment_with(phases=phases, **{field: str(path)})
    message = f"train.{field} is {path}, which is not a run directory"
    with pytest.raises(UsageError, match=message):
        check_sources(experiment)


def test_a_source_that_is_refused_can_be_corrected(tmp_path):
    experiment = experiment_with(start=str(tmp_path / "nowhere"))
    out, screen = tmp_path / "run", Console(file=io.StringIO())
    with pytest.raises(UsageError, match=r"train\.start"):
        run_stages(experiment, out, ("train",), console=screen, command="nas train")
    # The directory is not yet that of the wrong experiment.
    assert not (out / "config.json").exists()


@pytest.mark.parametrize("field", ["start", "teacher"])
def test_a_run_that_is_not_trained_is_told(trained, field):
    trained.supernet.unlink()
    phases = (TAUGHT,) if field == "teacher" else QUICKSTART.train.phases
    experiment = experiment_with(phases=phases, **{field: str(trained.path)})
    message = f"train.{field} is .*no trained supernet yet: run `nas train` there"
    with pytest.raises(UsageError, match=message):
        check_sources(experiment)


@pytest.mark.parametrize("field", ["start", "teacher"])
def test_a_network_of_another_shape_is_told(trained, field):
    experiment = experiment_with(**{field: str(trained.path)})
    model = dataclasses.replace(experiment.model, width=(8, 24))
    experiment = dataclasses.replace(experiment, model=model)
    use = {"start": set_start, "teacher": frozen_teacher}[field]
    message = rf"train.{field} is .*another shape.*: .*16.*expected .*24"
    with pytest.raises(UsageError, match=message):
        use(experiment, shapes_of(experiment))


def test_damaged_weights_are_told(trained):
    trained.supernet.write_bytes(trained.supernet.read_bytes()[:100])
    experiment = experiment_with(start=str(trained.path))
    with pytest.raises(RunError, match="is damaged"):
        set_start(experiment, shapes_of(experiment))


def test_learning_from_a_teacher_that_is_not_there_is_told():
    phases = (*QUICKSTART.train.phases, TAUGHT)
    with pytest.raises(UsageError, match=r"phase 2 learn .*none; .* --train.teacher"):
        check_sources(experiment_with(phases=phases))


def test_features_of_a_teacher_in_another_order_are_refused(trained):
    losses = Losses(taught=FeatureDistillation())
    taught = dataclasses.replace(TAUGHT, losses=losses, sort=("ffn",))
    experiment = experiment_with(teacher=str(trained.path), phases=(taught,))
    # Hidden units are no features.
    check_sources(experiment)
    before = Phase(sort=("width",))
    experiment = experiment_with(teacher=str(trained.path), phases=(before, taught))
    with pytest.raises(UsageError, match=r"phase 2 learns features .* width is sorted"):
        check_sources(experiment)


def test_a_teacher_whom_nobody_learns_from_is_told(trained):
    experiment = experiment_with(teacher=str(trained.path))
    with pytest.raises(UsageError, match="nobody learns from it; set teacher="):
        check_sources(experiment)
