"""Feed-forward networks: their formulas, nesting, and size 0."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from kernels.extents import Fixed, Indexed
from kernels.feed_forward import FeedForwardWeights, feed_forward
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

ROWS, FEATURES, HIDDEN = 3, 4, 6


def arrays():
    shapes = {
        "x": (ROWS, FEATURES),
        "up": (FEATURES, HIDDEN),
        "down": (HIDDEN, FEATURES),
        "gate": (FEATURES, HIDDEN),
    }
    return {name: normal(s, row) for row, (name, s) in enumerate(shapes.items())}


@quick_jit
def compiled(x, weights, hidden):
    return feed_forward(x, weights, Fixed(FEATURES), hidden)


def run(given, hidden, *, gated):
    x, up, down, gate = (jnp.asarray(array) for array in given.values())
    weights = FeedForwardWeights(up, down, gate if gated else None)
    return compiled(x, weights, hidden)


def reference(given, hidden, *, gated):
    x, up, down, gate = (array.astype(np.float64) for array in given.values())
    units = x @ up[:, :hidden]
    if gated:
        gates = x @ gate[:, :hidden]
        units = gates * scipy.special.expit(gates) * units
    else:
        # The tanh form, which is what jax.nn.gelu computes unless told otherwise.
        inner = np.sqrt(2 / np.pi) * (units + 0.044715 * units**3)
        units = 0.5 * units * (1 + np.tanh(inner))
    return units @ down[:hidden]


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("hidden", [1, 4, HIDDEN])
def test_the_first_units_are_a_network_by_themselves(gated, hidden):
    given, choices = arrays(), (1, 4, HIDDEN)
    expected = reference(given, hidden, gated=gated)
    index = jnp.asarray(choices.index(hidden))
    assert_close(run(given, Fixed(hidden), gated=gated), expected)
    assert_close(run(given, Indexed(index, choices), gated=gated), expected)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("hidden", [Fixed(0), Indexed(jnp.asarray(0), (0, HIDDEN))])
def test_no_units_give_zeros(gated, hidden):
    output = run(arrays(), hidden, gated=gated)
    assert_equal(output, jnp.zeros((ROWS, FEATURES)))
