"""Distillation with a temperature, and its mixture with the data."""

import functools

import jax
import numpy as np
import pytest
import scipy.special

from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.distillation import Distillation
from supernets.losses.entropy import distillation
from tests.kernels.comparison import assert_close, normal, quick_jit
from tests.supernets.losses.networks import (
    ImageNetwork,
    image_batch,
    image_outputs,
    image_weights,
    lesson,
)

NETWORK = ImageNetwork(image_weights(tasks=False))
BATCH = image_batch(tasks=False)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_temperature_divides_logits_and_multiplies_by_its_square(temperature):
    student, teacher = normal((3, 5), 0, 3.0), normal((3, 5), 1, 3.0)
    labels = scipy.special.softmax(np.float64(teacher) / temperature, axis=-1)
    scores = scipy.special.log_softmax(np.float64(student) / temperature, axis=-1)
    warm = functools.partial(distillation, temperature=temperature)
    ours = quick_jit(warm)(student, teacher)
    assert_close(ours, -(temperature**2) * (labels * scores).sum(-1).mean())


def test_at_a_high_temperature_it_matches_logits():
    """Its gradient goes to that of ``(v - z)^2 / 2N`` (Hinton 2015, Eq. 4)."""
    student, teacher = normal((1, 5), 0), normal((1, 5), 1)
    centred = [logits - logits.mean() for logits in (student, teacher)]
    matching = functools.partial(distillation, temperature=1e3)
    gradient = quick_jit(jax.grad(matching))(student, teacher)
    expected = (centred[0] - centred[1]) / 5
    np.testing.assert_allclose(gradient, expected, rtol=0.01, atol=1e-4)


def test_teacher_and_data_are_mixed_by_the_share():
    teacher = image_outputs(ImageNetwork(image_weights(tasks=False, seed=50)), BATCH)
    found = lesson(Distillation(share=0.25, smoothing=0.1), NETWORK, BATCH, teacher)
    data = lesson(CrossEntropy(smoothing=0.1), NETWORK, BATCH).objective
    soft = quick_jit(distillation)(found.outputs.logits, teacher.logits)
    assert_close(found.objective, 0.75 * data + 0.25 * soft)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": -0.1}, "share must lie in 0..1, got -0.1"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Distillation(**changes)
