"""Checkpoints: exact, newest complete first, and told when one is passed over."""

import errno
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nas.checkpoints import Checkpoints
from supernets.decoder.spec import Decoder
from supernets.optimizers.adamw import AdamW
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
    (step, state, _), said = restore(directory)
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
    (step, state, _), said = restore(directory)
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
    (step, state, _), _ = restore(directory)
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
    (step, *_), said = restore(directory)
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
    (step, state, _), _ = restore(tmp_path / "checkpoints")
    assert step == 10
    assert_equal(state, state_at(10))


def test_notes_come_back_as_they_were_given(tmp_path):
    notes = {"losses": {"largest": [0.1, 2.0**-40]}, "input": {"next": 12}}
    with Checkpoints(tmp_path, warn=pytest.fail) as checkpoints:
        checkpoints.save(10, state_at(10), notes=notes)
    restored, _ = restore(tmp_path)
    assert restored.notes == notes


def test_the_best_checkpoint_stays_beside_the_newest(tmp_path):
    with Checkpoints(tmp_path, warn=pytest.fail) as checkpoints:
        for step, score in [(1, 3.0), (2, 1.0), (3, 2.0), (4, None)]:
            checkpoints.save(step, state_at(step), score=score)
    # Another process knows the scores as well.
    with Checkpoints(tmp_path, warn=pytest.fail) as checkpoints:
        checkpoints.save(5, state_at(5), score=1.5)
        checkpoints.save(6, state_at(6))
        assert checkpoints.best == 2
        best = checkpoints.restore_best(state_at(0))
        assert best.step == 2
        assert_equal(best.state, state_at(2))
    assert steps_in(tmp_path) == ["2", "5", "6"]


def test_without_scores_there_is_no_best(directory):
    with Checkpoints(directory, warn=pytest.fail) as checkpoints:
        assert checkpoints.restore_best(state_at(0)) is None


def test_a_full_disk_is_survived_and_told(directory, monkeypatch, capfd):
    said, full = [], OSError(errno.ENOSPC, "No space left on device")
    with Checkpoints(directory, warn=said.append) as checkpoints:

        def fail(*_, **__):
            raise full

        # Orbax tells of a failure in its threads when the next one is written.
        monkeypatch.setattr(checkpoints.manager, "save", fail)
        checkpoints.save(40, state_at(40))
        checkpoints.save(50, state_at(50))
    (message,) = said
    assert message.startswith(f"a checkpoint could not be written to {directory} (")
    assert "No space left on device" in message
    assert "training goes on, and the next checkpoint tries again" in message
    assert capfd.readouterr() == ("", "")
    (step, state, _), _ = restore(directory)
    assert step == 50
    assert_equal(state, state_at(50))


def test_a_directory_that_went_away_is_written_again(directory):
    said = []
    with Checkpoints(directory, warn=said.append) as checkpoints:
        shutil.rmtree(directory)
        checkpoints.save(40, state_at(40))
        checkpoints.wait()
        checkpoints.save(50, state_at(50))
    (step, state, _), _ = restore(directory)
    assert step == 50
    assert_equal(state, state_at(50))


def test_what_a_killed_write_left_behind_is_removed(directory):
    left = shutil.copytree(directory / "30", directory / "40.orbax-checkpoint-tmp")
    with Checkpoints(directory, warn=pytest.fail):
        pass
    assert not left.exists()
