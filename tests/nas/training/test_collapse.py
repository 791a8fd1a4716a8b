"""The alarm: it tells a subnet that collapses, and no other, and never noise."""

import math

import numpy as np
import pytest

from nas.training.collapse import LOST, CollapseAlarm

LABELS = tuple(f"subnet {size}" for size in range(7))
GUESSING = 8.0


def descent(validations, rng=None, *, common=0.0, own=0.0):
    """Returns losses of all subnets falling to 2.3 and more, with noise."""
    rng = rng or np.random.default_rng(0)
    steps = np.arange(validations)[:, None]
    ends = 2.3 + 0.12 * np.arange(len(LABELS))[::-1]
    losses = ends + (GUESSING - ends) * np.exp(-steps / 4)
    shared = rng.normal(0, common, (validations, 1))
    return losses + shared + rng.normal(0, own, losses.shape)


def raised(losses, trained=LABELS, guessing=GUESSING):
    """Returns everything that the alarm says of losses, validation by validation."""
    alarm = CollapseAlarm(guessing)
    return [
        collapse
        for step, row in enumerate(losses)
        for collapse in alarm.observe(
            step, dict(zip(LABELS, row.tolist(), strict=True)), trained
        )
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_noisy_descent_raises_no_alarm(seed):
    rng = np.random.default_rng(seed)
    # Every subnet jumps by half a bit, and each for itself by a tenth.
    losses = descent(100, rng, common=0.5, own=0.1)
    assert raised(losses) == []


@pytest.mark.parametrize("seed", range(6))
def test_noise_before_anything_was_learnt_raises_no_alarm(seed):
    rng = np.random.default_rng(seed)
    losses = GUESSING - 0.3 + rng.normal(0, 0.2, (50, len(LABELS)))
    assert raised(losses) == []


@pytest.mark.parametrize("row", range(len(LABELS)))
def test_a_collapse_is_told_once_with_its_name(row):
    losses = descent(40, own=0.02)
    losses[30:, row] += 2 * LOST * (GUESSING - losses[29, row])
    (found,) = raised(losses)
    assert (found.label, found.step) == (LABELS[row], 31)
    assert found.loss == losses[31, row]
    # The lowest that two validations in a row have kept.
    held = np.maximum(losses[1:30, row], losses[:29, row])
    assert found.best == held.min()
    assert losses[found.best_step, row] == found.best


def test_a_slow_collapse_is_told():
    losses = descent(60)
    losses[20:, 2] += 0.05 * np.arange(40)
    (found,) = raised(losses)
    assert found.label == LABELS[2]
    share = (found.loss - found.best) / (GUESSING - found.best)
    assert LOST < share < 1.5 * LOST


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 2, 3], [6, 5, 4, 3, 2]])
def test_several_that_collapse_together_are_each_told(rows):
    losses = descent(40)
    losses[30:, rows] += 1.5
    assert {found.label for found in raised(losses)} == {LABELS[row] for row in rows}


def test_training_as_a_whole_may_get_worse_without_an_alarm():
    losses = descent(40)
    losses[30:] += 1.5
    assert raised(losses) == []


def test_one_bad_validation_is_not_enough():
    losses = descent(40)
    losses[[20, 22, 25], 3] += 3.0
    assert raised(losses) == []


def test_after_a_recovery_the_alarm_is_raised_again():
    losses = descent(60)
    losses[20:30, 3] += 1.5
    losses[40:50, 3] += 1.5
    assert [found.step for found in raised(losses)] == [21, 41]


def test_a_loss_that_is_not_a_number_is_a_collapse():
    losses = descent(40)
    losses[30:, 6] = math.nan
    (found,) = raised(losses)
    assert (found.label, found.step) == (LABELS[6], 31)
    assert math.isnan(found.loss)


def test_what_is_not_trained_yet_cannot_collapse():
    losses = descent(40)
    # As only the largest is trained, the others get better with it, and then worse.
    losses[10:, :6] += 2.0
    assert raised(losses, trained=LABELS[6:]) == []
    alarm = CollapseAlarm(GUESSING)
    found = []
    for step, row in enumerate(losses):
        trained = LABELS if step > 20 else LABELS[6:]
        if step == 30:
            losses[30:, 0] += 1.5
        values = dict(zip(LABELS, row.tolist(), strict=True))
        found += alarm.observe(step, values, trained)
    assert [(collapse.label, collapse.step) for collapse in found] == [(LABELS[0], 31)]


def test_what_is_no_longer_trained_can_still_collapse():
    alarm, found = CollapseAlarm(GUESSING), []
    losses = descent(40)
    losses[30:, 0] += 1.5
    for step, row in enumerate(losses):
        values = dict(zip(LABELS, row.tolist(), strict=True))
        found += alarm.observe(step, values, LABELS if step < 20 else LABELS[3:])
    assert [collapse.label for collapse in found] == [LABELS[0]]


def test_alone_a_subnet_cannot_be_told_from_noise():
    losses = descent(40)
    losses[30:, 6] += 1.5
    assert raised(losses, trained=LABELS[6:]) == []
