"""The sandwich step: its gradient, its compilations, and that it repeats."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from supernets.losses import cross_entropy, distillation
from supernets.lowering import fixed_extents
from supernets.optimizer import AdamW
from supernets.sandwich import Sandwich
from supernets.training import initial_state, make_train_step
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

SPEC = small_decoder(width=(4, 6, 8))
SPACE = SPEC.space()
POLICY = Sandwich(random=2, distillation=0.3)
RATE = 0.1

# Plain descent that also keeps the gradient it was given.
DESCENT = optax.chain(optax.trace(decay=0.0), optax.scale(-RATE))


def state_of(seed, optimizer=DESCENT):
    """A state of its own: a step takes its memory over."""
    return initial_state(with_weights(SPEC, random_weights(SPEC, seed)), optimizer)


@pytest.fixture(scope="module", params=["masked", "switched"])
def step(request):
    return make_train_step(
        unweighted(SPEC), SPACE, DESCENT, POLICY, execution=request.param
    )


@pytest.fixture(scope="module")
def one_by_one():
    """Losses and gradients of each subnet, as static programs of their own."""
    sampled = POLICY.sample(SPACE, seed=0, step=0)
    genotypes = [SPACE.largest, SPACE.smallest, *sampled]
    inputs, targets = random_windows()
    weights = random_weights(SPEC)

    def predict(weights, genotype):
        extents = fixed_extents(SPACE, genotype)
        return with_weights(SPEC, weights)(inputs, extents)

    teacher = np.asarray(quick_jit(lambda w: predict(w, SPACE.largest))(weights))
    share = POLICY.distillation

    def teacher_loss(weights):
        data = cross_entropy(predict(weights, SPACE.largest), targets)
        return data, data

    def student_loss(weights, genotype):
        logits = predict(weights, genotype)
        data = cross_entropy(logits, targets)
        mixed = (1 - share) * data + share * distillation(logits, jnp.asarray(teacher))
        return mixed, data

    @quick_jit
    def run(weights):
        outcomes = [jax.grad(teacher_loss, has_aux=True)(weights)]
        students = jax.grad(student_loss, has_aux=True)
        outcomes += [students(weights, genotype) for genotype in genotypes[1:]]
        return outcomes

    gradients, losses = zip(*run(weights), strict=True)
    return sampled, gradients, losses


def test_the_gradient_is_the_mean_over_the_subnets(step, one_by_one):
    sampled, gradients, _ = one_by_one
    before = random_weights(SPEC)
    state, metrics = step(state_of(0), *random_windows(), sampled)
    mean = {
        name: np.mean([gradient[name] for gradient in gradients], axis=0)
        for name in before
    }
    supernet = unweighted(SPEC)
    kept = flat_weights(nnx.merge(nnx.graphdef(supernet), state.optimizer[0].trace))
    assert_close(kept, mean)
    assert_close(metrics.gradient_norm, optax.tree.norm(mean))
    after = flat_weights(nnx.merge(nnx.graphdef(supernet), state.params))
    assert_close(after, {name: before[name] - RATE * mean[name] for name in before})


def test_losses_are_those_on_the_data_largest_first(step, one_by_one):
    sampled, _, losses = one_by_one
    _, metrics = step(state_of(0), *random_windows(), sampled)
    assert_close(metrics.losses, np.stack(losses))
    assert len(np.unique(losses)) == POLICY.subnets
    _, swapped = step(state_of(0), *random_windows(), sampled[::-1])
    assert_equal(swapped.losses, metrics.losses[jnp.asarray([0, 1, 3, 2])])


def test_one_program_trains_all_subnets(step, compilations):
    state, inputs, rows = state_of(0), random_windows(), set()
    compilations.clear()
    for number in range(200):
        genotypes = POLICY.sample(SPACE, seed=1, step=number)
        rows |= {tuple(genotype) for genotype in genotypes.tolist()}
        state, _ = step(state, *inputs, genotypes)
    assert len(rows) > 50
    # One if this is the first test that runs the step, else none.
    assert len(compilations) <= 1


def train(step, seed, steps):
    state = state_of(seed)
    for number in range(steps):
        windows = random_windows(number)
        sampled = POLICY.sample(SPACE, seed=seed, step=number)
        state, metrics = step(state, *windows, sampled)
    return state, metrics


def test_the_same_seed_gives_the_same_weights_bit_for_bit(step):
    first, again, other = (train(step, seed, 3) for seed in (0, 0, 1))
    assert_equal(first, again)
    assert float(first[1].gradient_norm) != float(other[1].gradient_norm)


def test_without_random_subnets_the_ends_are_trained():
    policy = Sandwich(random=0, distillation=0.0)
    spec = small_decoder(depth=(1,), ffn=(3, 6), heads=(1,))
    optimizer = AdamW(learning_rate=0.01, warmup=0.0).transform(30)
    step = make_train_step(unweighted(spec), spec.space(), optimizer, policy)
    supernet = with_weights(spec, random_weights(spec))
    state = initial_state(supernet, optimizer)
    none = policy.sample(spec.space(), seed=0, step=0)
    losses = []
    for _ in range(30):
        state, metrics = step(state, *random_windows(), none)
        losses.append(np.asarray(metrics.losses))
    assert losses[0].shape == (2,)
    assert (losses[-1] < 0.9 * losses[0]).all()
