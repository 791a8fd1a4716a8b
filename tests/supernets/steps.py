"""Training steps that are compiled quickly, as by `quick_jit`."""

import functools

import jax
import optax
import pytest

from supernets.training import TrainStep, make_train_step
from tests.kernels.comparison import quick_options
from tests.supernets.toy import unweighted

RATE = 0.1

DESCENT = optax.chain(optax.trace(decay=0.0), optax.scale(-RATE))
"""Plain descent that also keeps the gradient it was given."""


def quick_step(spec, slots, optimizer=DESCENT, **options) -> TrainStep:
    """The step of the supernet of a spec."""
    quick = functools.partial(jax.jit, compiler_options=quick_options())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quick)
        return make_train_step(
            unweighted(spec), spec.space(), optimizer, slots, **options
        )
