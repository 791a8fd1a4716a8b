"""Checkpoints: exact, newest complete first, and told when one is passed over."""

import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nas.checkpoints import Checkpoints
from supernets.decoder.spec import Decoder
from supernets.optimizer import AdamW
from supernets.training import initial_state

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)


def state_at(step):
    """A training state whose every number tells its step."""

    def initial():
        return initial_state(MODEL.build(rngs=nnx.Rngs(0)), AdamW().transform(10))

    shapes = jax.eval_shape(initial)
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, step, leaf.dtype), shapes)


def assert_equal(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 10, 20 and 30, of which two are kept."""
    directory = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(directory, warn=pytest.fail) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, state_at(step))
    return directory


@pytest.fixture
def directory(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def restore(directory):
    said = []
    with Checkpoints(directory, warn=said.append) as checkpoints:
        return checkpoints.restore(state_at(0)), said


def steps_in(directory):
    return sorted(entry.name for entry in directory.iterdir())


def test_nothing_is_restored_where_nothing_was_saved(tmp_path):
    assert restore(tmp_path / "empty") == (None, [])


def test_the_newest_checkpoint_is_restored_exactly(directory):
    (step, state), said = restore(directory)
    assert (step, said) == (30, [])
    assert_equal(state, state_at(30))


def test_two_checkpoints_are_kept(directory):
    assert steps_in(directory) == ["20", "30"]


def files(step_directory):
    return [path for path in step_directory.rglob("*") if path.is_file()]


def truncate(step_directory):
    largest = max(files(step_directory), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def blank(step_directory):
    for path in files(step_directory):
        path.write_bytes(b"")


def strip(step_directory):
    shutil.rmtree(step_directory)
    step_directory.mkdir()


def lose_item(step_directory):
    for entry in step_directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)


DAMAGES = [truncate, blank, strip, lose_item]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_passed_over_and_told(
    directory, damage, capfd, caplog
):
    damage(directory / "30")
    (step, state), said = restore(directory)
    assert step == 20
    assert_equal(state, state_at(20))
    (message,) = said
    assert message.startswith(f"checkpoint of step 30 in {directory} is damaged and ")
    assert "passed over (" in message
    assert "\n" not in message
    assert len(message) < 1000
    # The one that was passed over does not stand in the way of writing it again.
    assert steps_in(directory) == ["20"]
    # Nothing else is shown: a trace would hide the message.
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    with Checkpoints(directory, warn=pytest.fail) as checkpoints:
        checkpoints.save(30, state_at(31))
    (step, state), _ = restore(directory)
    assert step == 30
    assert_equal(state, state_at(31))


def test_no_checkpoint_is_left_where_all_are_damaged(directory):
    for entry in directory.iterdir():
        truncate(entry)
    restored, said = restore(directory)
    assert restored is None
    assert [message.split(" in ")[0] for message in said] == [
        "checkpoint of step 30",
        "checkpoint of step 20",
    ]


def test_an_unfinished_checkpoint_is_not_one(directory):
    # As Orbax leaves it when it is killed while it writes.
    shutil.copytree(directory / "30", directory / "40.orbax-checkpoint-tmp")
    (step, _), said = restore(directory)
    assert (step, said) == (30, [])


def test_an_error_without_words_is_told_by_its_kind(directory, monkeypatch):
    said = []
    with Checkpoints(directory, warn=said.append) as checkpoints:

        def fail(*_, **__):
            raise AssertionError

        monkeypatch.setattr(checkpoints.manager, "restore", fail)
        assert checkpoints.restore(state_at(0)) is None
    assert said[0].endswith("passed over (AssertionError: )")


def test_an_interrupt_waits_until_a_write_is_under_way(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "checkpoints", warn=pytest.fail)
    save, reached = checkpoints.manager.save, []

    def interrupted(*arguments, **named):
        signal.raise_signal(signal.SIGINT)
        reached.append(save(*arguments, **named))

    monkeypatch.setattr(checkpoints.manager, "save", interrupted)
    with pytest.raises(KeyboardInterrupt), checkpoints:
        checkpoints.save(10, state_at(10))
    assert reached == [True]
    (step, state), _ = restore(tmp_path / "checkpoints")
    assert step == 10
    assert_equal(state, state_at(10))
