"""Smoothed labels against their closed form."""

import numpy as np
import pytest
import scipy.special

from supernets.losses.cross_entropy import CrossEntropy
from tests.kernels.comparison import assert_close
from tests.supernets.losses.networks import (
    CLASSES,
    ImageNetwork,
    image_batch,
    image_outputs,
    image_weights,
    lesson,
)

NETWORK = ImageNetwork(image_weights(tasks=False))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_labels_are_mixed_with_even_ones(smoothing):
    batch = image_batch(tasks=False)
    logits = np.float64(image_outputs(NETWORK, batch).logits)
    scores = scipy.special.log_softmax(logits, axis=-1)
    labels = (1 - smoothing) * np.eye(CLASSES)[batch.targets] + smoothing / CLASSES
    found = lesson(CrossEntropy(smoothing=smoothing), NETWORK, batch)
    assert_close(found.objective, -(labels * scores).sum(-1).mean())


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ValueError, match=f"smoothing must .* got {smoothing}"):
        CrossEntropy(smoothing=smoothing)
