"""What every loss obeys. A new loss joins by one line of ``CASES``."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.losses.adversarial import AdversarialDistillation, Trades
from supernets.losses.alpha_divergence import AlphaDivergence
from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.distillation import Distillation
from supernets.losses.exits import ExitLoss
from supernets.losses.feature_distillation import FeatureDistillation
from supernets.losses.loss import Batch, Loss, Outputs
from supernets.losses.losses import LossSpec
from supernets.losses.pgd import Pgd
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.losses.worlds import world

WEAK = Pgd(epsilon=0.1, step_size=0.05, steps=2)
STILL = Pgd(epsilon=0.0, step_size=0.05, steps=1)


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss, and what may be asked of it."""

    loss: Loss
    data: float | None = None
    """Share of the loss on the data where the teacher is the network itself: all that
    is left to learn. Of losses that need a teacher."""
    random: bool = False
    """Whether examples that are alike are treated differently."""
    worlds: tuple[str, ...] = ("tokens", "tasks")


CASES = [
    Case(CrossEntropy()),
    Case(Distillation(share=0.3, temperature=2.0), data=0.7),
    Case(AlphaDivergence(share=0.6), data=0.4),
    Case(FeatureDistillation(logits_share=0.2), data=0.3),
    Case(ExitLoss(share=0.3, weights="depth")),
    Case(ExitLoss(exits="rotating", teacher="last", share=0.3), worlds=("tasks",)),
    Case(AdversarialDistillation(adversary=WEAK), random=True, worlds=("images",)),
    Case(AdversarialDistillation(adversary=STILL), data=0.0, worlds=("tasks",)),
    Case(Trades(adversary=WEAK), random=True, worlds=("images",)),
    Case(Trades(adversary=STILL), worlds=("tasks",)),
]

ROWS = [
    pytest.param(case, name, id=f"{number}-{type(case.loss).__name__}-{name}")
    for number, case in enumerate(CASES)
    for name in case.worlds
]

every_loss = pytest.mark.parametrize(("case", "name"), ROWS)

taught_by_a_teacher = pytest.mark.parametrize(
    ("case", "name"), [r for r in ROWS if r.values[0].data is not None]
)

held_world = functools.cache(world)


def network_of(loss, name):
    """Makes networks of weights: the smallest, or the largest if it has to be."""
    held = held_world(name)
    return held.network if loss.needs_exits else held.smaller


@functools.cache
def compiled(loss, name):
    """The objective, outputs, and gradients to weights and teacher."""
    network = network_of(loss, name)

    def objective(weights, teacher, batch, key):
        # Of a loss that has no teacher, its gradient to one is zero too.
        lesson = loss(network(weights), batch, teacher, key)
        return lesson.objective, lesson.outputs

    return quick_jit(jax.value_and_grad(objective, (0, 1), has_aux=True))


def learnt(loss, name, *, teacher=None, seed=0):
    held = held_world(name)
    operands = teacher or held.teacher, held.batch, jax.random.key(seed)
    return compiled(loss, name)(held.weights, *operands)


@functools.cache
def own_outputs(network, name):
    held = held_world(name)
    run = quick_jit(lambda weights, inputs: network(weights)(inputs))
    return run(held.weights, held.batch.inputs)


def test_every_loss_of_a_recipe_is_here():
    assert {type(case.loss) for case in CASES} == set(LossSpec.__args__)
    for case in CASES:
        assert case.loss.needs_teacher or case.data is None


@every_loss
def test_the_objective_is_a_finite_scalar_with_finite_gradients(case, name):
    assert isinstance(case.loss, Loss)
    (objective, _), (gradient, _) = learnt(case.loss, name)
    assert objective.shape == ()
    assert np.isfinite(objective)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert max(np.abs(leaf).max() for leaf in leaves) > 1e-4


@every_loss
def test_the_lesson_tells_what_the_network_gave_for_the_batch(case, name):
    (_, outputs), _ = learnt(case.loss, name)
    assert_close(outputs, own_outputs(network_of(case.loss, name), name))


@every_loss
def test_no_gradient_reaches_the_teacher(case, name):
    _, (_, gradient) = learnt(case.loss, name)
    assert_equal(gradient, jax.tree.map(np.zeros_like, gradient))


@every_loss
def test_the_same_key_gives_the_same_gradient(case, name):
    assert_equal(learnt(case.loss, name), learnt(case.loss, name))


@pytest.mark.parametrize(("case", "name"), [r for r in ROWS if r.values[0].random])
def test_another_key_gives_another_adversary(case, name):
    (first, _), _ = learnt(case.loss, name)
    (other, _), _ = learnt(case.loss, name, seed=1)
    assert first != other


@pytest.mark.parametrize("case", [case for case in CASES if not case.random])
def test_examples_that_come_twice_count_once(case):
    held, name = held_world("tasks"), "tasks"

    def twice(array):
        return jnp.concatenate([array, array])

    batch = Batch(*jax.tree.map(twice, tuple(held.batch)))
    logits, features = jax.tree.map(twice, tuple(held.teacher[:2]))
    teacher = Outputs(logits, features, held.teacher.active)
    network = network_of(case.loss, name)

    def objective(weights, *operands):
        return case.loss(network(weights), *operands, jax.random.key(0)).objective

    (once, _), _ = learnt(case.loss, name)
    assert_close(quick_jit(objective)(held.weights, batch, teacher), once)


@taught_by_a_teacher
def test_only_the_data_is_left_to_learn_from_oneself(case, name):
    own = own_outputs(held_world(name).smaller, name)
    _, (gradient, _) = learnt(case.loss, name, teacher=own)
    _, (of_data, _) = learnt(CrossEntropy(), name)

    def same(ours, data):
        np.testing.assert_allclose(ours, case.data * data, atol=3e-6)

    jax.tree.map(same, gradient, of_data)


@taught_by_a_teacher
def test_a_loss_without_the_teacher_it_needs_says_so(case, name):
    held = held_world(name)
    with pytest.raises(ValueError, match=f"{type(case.loss).__name__} needs a teacher"):
        case.loss(held.network(held.weights), held.batch, None, jax.random.key(0))


@pytest.mark.parametrize("case", CASES)
def test_it_is_a_plain_value(case):
    assert dataclasses.replace(case.loss) == case.loss
    assert hash(dataclasses.replace(case.loss)) == hash(case.loss)
