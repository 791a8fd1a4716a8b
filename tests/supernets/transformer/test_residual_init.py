"""How what adds to the residual stream starts."""

import numpy as np
import pytest
from flax import nnx

from supernets.weights import flat_weights
from tests.kernels.comparison import quick_jit
from tests.supernets.toy import small_decoder, small_vision

OUTPUTS = ("attention.output", "feed_forward.down")


def weights(**changes):
    spec = small_decoder(width=(64,), ffn=(64,), depth=(2,), gated=False, **changes)
    return quick_jit(lambda: flat_weights(spec.build(rngs=nnx.Rngs(0))))()


@pytest.mark.slow
def test_layers_that_start_at_zero_add_nothing_and_are_otherwise_alike():
    scaled, zero = weights(), weights(residual_init="zero")
    for name, weight in zero.items():
        if name.endswith(OUTPUTS):
            assert not np.asarray(weight).any()
        else:
            np.testing.assert_array_equal(weight, scaled[name])
    # Relative to 64^-1/2, with two layers.
    deviation = np.std(scaled["blocks.1.feed_forward.down"]) * 8
    np.testing.assert_allclose(deviation, 4**-0.5, rtol=0.05)


def test_layers_start_smaller_the_more_there_are():
    assert small_decoder(depth=(1, 8)).stack.output_scale == 16**-0.5
    for small in (small_decoder, small_vision):
        assert small(residual_init="zero").stack.output_scale == 0
