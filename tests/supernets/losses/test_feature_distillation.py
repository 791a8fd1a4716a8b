"""Distances of features between networks of different widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.entropy import distillation
from supernets.losses.feature_distance import feature_distance
from supernets.losses.feature_distillation import FeatureDistillation
from supernets.losses.loss import Outputs
from tests.kernels.comparison import assert_close, normal, quick_jit
from tests.supernets.losses.networks import (
    FEATURES,
    ImageNetwork,
    image_batch,
    image_outputs,
    image_weights,
    lesson,
)

LOGITS = jnp.zeros((3, 2))


def outputs(features, width=FEATURES):
    active = (np.arange(FEATURES) < width).astype(np.float32)
    return Outputs(LOGITS, jnp.asarray(features * active), jnp.asarray(active))


distance = quick_jit(feature_distance)

STUDENT, TEACHER = normal((3, FEATURES), 0), normal((3, FEATURES), 1)


@pytest.mark.parametrize("widths", [(4, FEATURES), (FEATURES, 4), (2, 4)])
def test_it_is_twice_one_minus_the_cosine_on_what_both_have(widths):
    shared = min(widths)
    ours, theirs = (np.float64(x[:, :shared]) for x in (STUDENT, TEACHER))
    lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    cosine = (ours * theirs).sum(-1) / lengths
    found = distance(outputs(STUDENT, widths[0]), outputs(TEACHER, widths[1]))
    assert_close(found, (2 - 2 * cosine).mean())


def test_equal_networks_are_exactly_zero_apart():
    def apart(features, held):
        return feature_distance(held._replace(features=features), held)

    found, gradient = quick_jit(jax.value_and_grad(apart))(STUDENT, outputs(STUDENT))
    assert found == 0
    assert np.abs(gradient).max() < 1e-7


def test_a_subnet_with_the_features_of_its_teacher_is_not_told_to_change():
    """What lies past its width is none of its business."""
    found = distance(outputs(TEACHER, 3), outputs(TEACHER))
    assert found < 1e-12


def test_scale_does_not_matter_and_direction_does():
    student, teacher = outputs(STUDENT), outputs(TEACHER)
    scaled = student._replace(features=7 * student.features)
    assert_close(distance(scaled, teacher), distance(student, teacher))
    opposite = student._replace(features=-student.features)
    assert_close(distance(opposite, student), 4.0)


def test_features_that_are_all_zero_have_a_finite_gradient():
    def apart(features):
        return feature_distance(outputs(STUDENT)._replace(features=features), other)

    other = outputs(TEACHER)
    gradient = quick_jit(jax.grad(apart))(jnp.zeros((3, FEATURES)))
    assert np.isfinite(gradient).all()


def test_shares_of_features_predictions_and_data_add_up_to_one():
    network, batch = (
        ImageNetwork(image_weights(tasks=False), 4),
        image_batch(tasks=False),
    )
    teacher = image_outputs(ImageNetwork(image_weights(tasks=False, seed=50)), batch)
    student = image_outputs(network, batch)
    parts = (
        distance(student, teacher),
        distillation(student.logits, teacher.logits),
        lesson(CrossEntropy(), network, batch).objective,
    )
    loss = FeatureDistillation(share=0.2, logits_share=0.5)
    expected = sum(w * p for w, p in zip((0.2, 0.5, 0.3), parts, strict=True))
    assert_close(lesson(loss, network, batch, teacher).objective, expected)


def test_shares_that_leave_less_than_nothing_are_refused():
    with pytest.raises(ValueError, match=r"more than 1, got 0.7 and 0.5"):
        FeatureDistillation(share=0.7, logits_share=0.5)
    with pytest.raises(ValueError, match=r"logits_share must lie in 0..1, got -0.1"):
        FeatureDistillation(logits_share=-0.1)
