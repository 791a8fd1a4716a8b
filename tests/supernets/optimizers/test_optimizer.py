"""The optimiser as plain values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.optimizer import AdamW


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


@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("steps", [2, 10])
def test_the_rate_rises_to_the_peak_and_then_falls(warmup, steps):
    found = rates(AdamW(learning_rate=0.5, warmup=warmup), steps)
    peak = int(found.argmax())
    assert found[peak] == pytest.approx(0.5, rel=1e-5)
    assert peak == min(max(1, round(warmup * steps)), steps - 1)
    assert (np.diff(found[: peak + 1]) > 0).all()
    assert (np.diff(found[peak:]) < 0).all()
    assert (found[peak:] >= 0.05).all()


def test_the_rate_ends_near_a_tenth_of_the_peak():
    found = rates(AdamW(learning_rate=0.5, warmup=0.1), 50)
    assert found[-1] == pytest.approx(0.05, rel=0.02)


def test_a_run_of_one_step_has_an_optimiser():
    assert rates(AdamW(), 1).shape == (1,)


def test_the_norm_of_the_whole_gradient_is_clipped():
    # Adam forgets the scale of a constant gradient, so only the second is larger.
    transform = AdamW(clip=1.0, warmup=0.0, weight_decay=0.0).transform(10)
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive: 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive: nan"),
        ({"warmup": -0.1}, r"warmup must lie in 0\.\.1, got -0.1"),
        ({"warmup": 1.1}, r"warmup must lie in 0\.\.1, got 1.1"),
        ({"beta2": 0.0}, "beta2 must lie between 0 and 1, got 0.0"),
        ({"beta2": 1.0}, "beta2 must lie between 0 and 1, got 1.0"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative: -0.1"),
        ({"clip": 0.0}, "clip must be positive, got 0.0"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        AdamW(**changes)
