"""Micro-batches: the gradient of the whole batch in the memory of a part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.policies.policy import Moment, Slot, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.policies.uniform import Uniform
from supernets.training import initial_state, make_train_step
from tests.kernels.comparison import assert_close
from tests.supernets.steps import DESCENT, quick_step
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

pytestmark = pytest.mark.slow

# Few sizes compile quickly.
SPEC = small_decoder(width=(8,), heads=(2,), ffn=(3, 6), depth=(1, 2))
SPACE = SPEC.space()
SUBNETS = Subnets(SPACE, lambda rows: rows.sum(1).astype(float))


def batch_of(parts):
    """Examples of several batches, all different."""
    batches = [Batch(*random_windows(seed)) for seed in range(parts)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)


def learnt(policy, parts, **options):
    """Gradient of a step, and what it told."""
    step = quick_step(SPEC, policy.slots(SPACE), execution="masked", **options)
    state = initial_state(with_weights(SPEC, random_weights(SPEC)), DESCENT)
    draw = policy.draw(SUBNETS, Moment(0, 3, 10))
    state, metrics = step(state, batch_of(parts), draw, 0)
    return state.optimizer[0].trace, metrics


@pytest.mark.parametrize(
    ("policy", "examples", "reduction"),
    [
        (Sandwich(random=1), "shared", "mean"),
        pytest.param(
            Sandwich(random=1, teacher="data"), "own", "sum", marks=pytest.mark.long
        ),
        pytest.param(
            Uniform(subnets=2, teacher="frozen"),
            "shared",
            "sum",
            marks=pytest.mark.long,
        ),
    ],
    ids=["taught in the step", "own examples", "taught by a frozen network"],
)
def test_parts_give_the_gradient_and_the_losses_of_the_whole(
    policy, examples, reduction
):
    options = {"examples": examples, "losses": Losses(reduction=reduction)}
    if policy.teacher == "frozen":
        frozen = with_weights(SPEC, random_weights(SPEC, 7))
        options["frozen"] = initial_state(frozen, DESCENT).params
    whole, parts = (learnt(policy, 6, **options, accumulate=n) for n in (1, 2))
    assert_close(parts[0], whole[0])
    assert_close(parts[1].losses, whole[1].losses)
    assert_close(parts[1].gradient_norm, whole[1].gradient_norm)
    # A sum of norms is at least the norm of the sum.
    ratio = np.asarray(parts[1].gradient_norms / whole[1].gradient_norms)
    assert (ratio > 1).all()
    assert (ratio < 3).all()


@pytest.mark.parametrize(
    ("examples", "parts", "message"),
    [
        ("shared", 1, "2 examples does not divide into 4 .* 1 parts; .* of 4"),
        ("own", 4, "8 examples does not divide into 4 .* 3 parts; .* multiple of 12"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused(examples, parts, message):
    policy = Sandwich(random=1, teacher="data")
    with pytest.raises(ValueError, match=message):
        learnt(policy, parts, examples=examples, accumulate=4)


def test_less_than_one_part_is_refused():
    with pytest.raises(ValueError, match="accumulate must be at least 1, got 0"):
        make_train_step(
            unweighted(SPEC), SPACE, DESCENT, (Slot(role="sampled"),), accumulate=0
        )
