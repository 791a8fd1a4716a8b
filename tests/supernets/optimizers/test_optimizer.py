"""What optimisers have in common, and the values that they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.optimizers.adafactor import Adafactor
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.lion import Lion
from supernets.optimizers.schedules import Cosine
from supernets.optimizers.sgd import Sgd


@pytest.fixture(autouse=True)
def standard_promotion():
    """Optax itself adds whole to real numbers."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def rates(optimizer: AdamW, steps: int) -> np.ndarray:
    """The size of each update under a constant gradient, which is Adam's rate."""
    transform = optimizer.transform(steps)
    params, gradient, sizes = jnp.zeros(1), jnp.ones(1), []
    state = transform.init(params)
    for _ in range(steps):
        update, state = transform.update(gradient, state, params)
        sizes.append(-float(update[0]))
    return np.asarray(sizes)


@pytest.mark.slow
def test_the_rate_ends_near_a_tenth_of_the_peak():
    found = rates(AdamW(learning_rate=0.5, schedule=Cosine(warmup=0.1)), 50)
    assert found[-1] == pytest.approx(0.05, rel=0.02)


def test_a_run_of_one_step_has_an_optimiser():
    assert rates(AdamW(), 1).shape == (1,)


def test_the_norm_of_the_whole_gradient_is_clipped():
    # Adam forgets the scale of a constant gradient, so only the second is larger.
    transform = AdamW(
        clip=1.0, schedule=Cosine(warmup=0.0), weight_decay=0.0
    ).transform(10)
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    small = {"a": jnp.asarray([0.6]), "b": jnp.asarray([0.8])}
    large = {name: 100.0 * gradient for name, gradient in small.items()}
    outcomes = []
    for gradient in (small, large):
        state = transform.init(params)
        for step in (small, gradient, small):
            update, state = transform.update(step, state, params)
        outcomes.append(np.concatenate([update["a"], update["b"]]))
    np.testing.assert_allclose(*outcomes, rtol=1e-5)


def test_weights_decay_apart_from_the_gradient():
    params = jnp.full(1, 2.0)
    updates = []
    for decay in (0.0, 0.1):
        transform = AdamW(learning_rate=0.5, weight_decay=decay).transform(2)
        state = transform.init(params)
        for _ in range(2):
            update, state = transform.update(jnp.ones(1), state, params)
        updates.append(float(update[0]))
    assert updates[1] - updates[0] == pytest.approx(-0.5 * 0.1 * 2.0, rel=1e-5)


def test_a_gradient_is_clipped_before_it_is_an_update():
    transform = Sgd(learning_rate=0.5, clip=2.0, momentum=0.0, weight_decay=0.0)
    transform, params = transform.transform(2), jnp.zeros(2)
    state = transform.init(params)
    for _ in range(2):
        update, state = transform.update(jnp.asarray([30.0, 40.0]), state, params)
    np.testing.assert_allclose(update, [-0.6, -0.8], rtol=1e-5)


def test_factored_moments_are_smaller_than_weights():
    params = {"large": jnp.zeros((40, 50)), "small": jnp.zeros((40, 20))}
    kept = Adafactor().transform(10).init(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(kept)) < 40 + 50 + 40 * 20 + 10


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (AdamW, {"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        (AdamW, {"learning_rate": float("nan")}, "must be positive, got nan"),
        (AdamW, {"beta2": 0.0}, "beta2 must lie between 0 and 1, got 0.0"),
        (AdamW, {"beta2": 1.0}, "beta2 must lie between 0 and 1, got 1.0"),
        (AdamW, {"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
        (AdamW, {"clip": 0.0}, "clip must be positive, got 0.0"),
        (Lion, {"beta1": 1.0}, "beta1 must lie between 0 and 1, got 1.0"),
        (Lion, {"clip": -1.0}, "clip must be positive"),
        (Sgd, {"momentum": 1.0}, r"momentum must lie in 0\.\.1 and below 1, got 1.0"),
        (Sgd, {"momentum": 0.0, "nesterov": True}, "nesterov needs a momentum"),
        (Adafactor, {"decay": 0.0}, "decay must lie between 0 and 1, got 0.0"),
        (Adafactor, {"factored": 1}, "factored must be at least 2, got 1"),
    ],
)
def test_values_out_of_range_are_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        kind(**changes)
