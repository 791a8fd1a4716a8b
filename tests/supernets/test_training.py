"""The training step: its gradient, whom slots learn from, and that it repeats."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.distillation import Distillation
from supernets.losses.entropy import cross_entropy, distillation
from supernets.losses.exits import ExitLoss
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.lowering import indexed_extents
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.schedules import Cosine
from supernets.policies.policy import Draw, Moment, Slot, Subnets, draw_of
from supernets.policies.sandwich import Sandwich
from supernets.regularization import Regularization
from supernets.training import initial_state, make_train_step
from supernets.weights import flat_weights
from tests.kernels.comparison import (
    assert_close,
    assert_equal,
    quick_jit,
)
from tests.supernets.steps import DESCENT, RATE, quick_step
from tests.supernets.toy import (
    BATCH,
    TOKENS,
    VOCABULARY,
    active_parts,
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)
from tests.variants import mainly

SPEC = small_decoder()
SPACE = SPEC.space()
POLICY = Sandwich(random=2)
SHARE = 0.3
LOSSES = Losses(taught=Distillation(share=SHARE))
WEIGHTS = (1.0, 0.5, 2.0, 1.0)


def costs(genotypes):
    return SPEC.costs(genotypes, batch=1, example=(4,))["macs"]


SUBNETS = Subnets(SPACE, costs)
LARGEST = Slot(role="largest", fixed=True)


def draw(step, *, seed=0):
    """A draw of the sandwich rule, with weights that differ."""
    drawn = POLICY.draw(SUBNETS, Moment(seed, step, 1000))
    return drawn._replace(weights=np.asarray(WEIGHTS, np.float32))


def batch_of(seed=0):
    return Batch(*random_windows(seed))


def state_of(seed=0, optimizer=DESCENT, weights=None):
    """A state of its own: a step takes its memory over."""
    weights = random_weights(SPEC, seed) if weights is None else weights
    return initial_state(with_weights(SPEC, weights), optimizer)


def named(params):
    return flat_weights(nnx.merge(nnx.graphdef(unweighted(SPEC)), params))


def gradient_of(state):
    return named(state.optimizer[0].trace)


@functools.cache
def alone():
    """Compiles the loss, gradient and logits of any one subnet."""

    def run(weights, teacher, share, genotype):
        inputs, targets = random_windows()

        def objective(weights):
            extents = indexed_extents(SPACE, genotype, "masked")
            logits = with_weights(SPEC, weights)(inputs, extents)
            data = cross_entropy(logits, targets)
            taught = distillation(logits, teacher)
            return (1 - share) * data + share * taught, (data, logits)

        gradient, aux = jax.grad(objective, has_aux=True)(weights)
        return gradient, *aux

    return quick_jit(run)


def learnt(genotype, teacher=None, *, seed=0, weights=None):
    """Gradient, loss on the data, and logits of one subnet."""
    share = np.float32(0.0 if teacher is None else SHARE)
    if teacher is None:
        teacher = np.zeros((BATCH, TOKENS, VOCABULARY), np.float32)
    weights = weights or random_weights(SPEC, seed)
    return alone()(weights, np.asarray(teacher), share, np.asarray(genotype))


def weighted(gradients, weights):
    total = sum(weights)
    return jax.tree.map(
        lambda *parts: sum(w / total * p for w, p in zip(weights, parts, strict=True)),
        *gradients,
    )


@pytest.fixture(scope="module", params=mainly("masked", "switched"))
def step(request):
    return quick_step(SPEC, POLICY.slots(SPACE), losses=LOSSES, execution=request.param)


@pytest.fixture(scope="module")
def one_by_one():
    """Losses and gradients of each subnet of the first draw."""
    first, *others = (candidates[0] for candidates in draw(0).genotypes)
    teacher = learnt(first)
    return [teacher, *(learnt(genotype, teacher[2]) for genotype in others)]


def test_the_gradient_is_the_weighted_mean_and_teachers_get_none(step, one_by_one):
    gradients, losses, _ = zip(*one_by_one, strict=True)
    before = random_weights(SPEC)
    state, metrics = step(state_of(), batch_of(), draw(0), 0)
    mean = weighted(gradients, WEIGHTS)
    assert_close(gradient_of(state), mean)
    assert_close(metrics.gradient_norm, optax.tree.norm(mean))
    after = {name: before[name] - RATE * mean[name] for name in before}
    assert_close(named(state.params), after)
    assert_close(metrics.losses, np.stack(losses))
    assert len(np.unique(losses)) == len(WEIGHTS)


def test_losses_are_in_the_order_of_the_slots(step):
    drawn = draw(0)
    _, metrics = step(state_of(), batch_of(), drawn, 0)
    swapped = Draw(drawn.genotypes[[0, 1, 3, 2]], drawn.weights)
    _, other = step(state_of(), batch_of(), swapped, 0)
    assert_equal(other.losses, metrics.losses[jnp.asarray([0, 1, 3, 2])])


def test_one_program_trains_all_subnets(step, compilations):
    state, batch, rows = state_of(), batch_of(), set()
    compilations.clear()
    for number in range(200):
        drawn = draw(number, seed=1)
        rows |= {tuple(genotype) for genotype in drawn.genotypes[:, 0].tolist()}
        state, _ = step(state, batch, drawn, number)
    assert len(rows) == SPACE.size.value
    # One if this is the first test that runs the step, else none.
    assert len(compilations) <= 1


def train(step, seed, steps):
    state = state_of(seed)
    for number in range(steps):
        state, metrics = step(state, batch_of(number), draw(number, seed=seed), number)
    return state, metrics


def test_the_same_seed_gives_the_same_weights_bit_for_bit(step):
    first, again, other = (train(step, seed, 3) for seed in (0, 0, 1))
    assert_equal(first, again)
    assert float(first[1].gradient_norm) != float(other[1].gradient_norm)


@pytest.mark.slow
def test_a_slot_learns_from_a_frozen_network_or_from_the_slot_before_it():
    slots = (
        Slot(role="largest", fixed=True, teacher="frozen"),
        *[Slot(role="sampled", teacher="previous")] * 2,
    )
    frozen = state_of(seed=7).params
    step = quick_step(SPEC, slots, losses=LOSSES, frozen=frozen, execution="masked")
    genotypes = draw(0).genotypes[:3]
    state, metrics = step(
        state_of(), batch_of(), Draw(genotypes, np.ones(3, np.float32)), 0
    )
    teacher = learnt(SPACE.largest, seed=7)[2]
    gradients, losses = [], []
    for (genotype,) in genotypes:
        gradient, loss, teacher = learnt(genotype, teacher)
        gradients.append(gradient)
        losses.append(loss)
    assert_close(gradient_of(state), weighted(gradients, (1, 1, 1)))
    assert_close(metrics.losses, np.stack(losses))
    assert_equal(frozen, state_of(seed=7).params)


@pytest.fixture(scope="module")
def noisy():
    """One of any size and, unless it is left out, the largest with noise."""
    return quick_step(
        SPEC,
        (Slot(role="sampled"), Slot(role="largest", fixed=True, optional=True)),
        losses=Losses(reduction="sum"),
        regularization=Regularization(dropout=0.5, drop_path=0.5),
        execution="masked",
    )


def pair_of(*weights):
    return draw_of(SPACE.smallest[None], SPACE.largest[None], weights=weights)


@pytest.mark.slow
def test_an_optional_slot_of_weight_zero_is_not_run(noisy):
    weights = random_weights(SPEC)
    # What only the largest has: it makes a gradient infinite, even if it counts zero.
    weights["norm.scale"][4:] = np.inf
    state, metrics = noisy(state_of(weights=weights), batch_of(), pair_of(1.0, 0.0), 0)
    assert_close(metrics.losses[0], learnt(SPACE.smallest)[1])
    assert np.isnan(metrics.losses[1])
    assert np.isfinite(metrics.gradient_norm)
    _, metrics = noisy(state, batch_of(), pair_of(1.0, 1.0), 1)
    assert not np.isfinite(metrics.gradient_norm)


def test_gradients_are_summed_if_asked_for(noisy):
    gradient = learnt(SPACE.smallest)[0]
    state, _ = noisy(state_of(), batch_of(), pair_of(2.0, 0.0), 0)
    assert_close(gradient_of(state), {name: 2 * g for name, g in gradient.items()})


def test_noise_is_of_the_step_and_for_the_largest_alone(noisy):
    def losses(number):
        return noisy(state_of(), batch_of(), pair_of(1.0, 1.0), number)[1].losses

    first, again, other = losses(0), losses(0), losses(1)
    assert_equal(first, again)
    assert_equal(first[0], other[0])
    assert_close(first[0], learnt(SPACE.smallest)[1])
    assert len({float(first[1]), float(other[1]), float(learnt(SPACE.largest)[1])}) == 3


def adam_parts(state):
    moments = state.optimizer[1][0]
    trees = state.params, moments.mu, moments.nu
    return [jax.device_get(named(tree)) for tree in trees]


@pytest.mark.slow
def test_of_candidates_the_best_or_the_worst_is_trained_and_what_is_idle_stands_still():
    optimizer = AdamW(schedule=Cosine(warmup=0.0), weight_decay=0.1).transform(100)
    slots = tuple(
        Slot(role="sampled", candidates=3, keep=keep) for keep in ("best", "worst")
    )
    step = quick_step(SPEC, slots, optimizer, execution="masked")
    # A first step of the largest, after which everything has moments.
    full = draw_of(*[SPACE.largest[None].repeat(3, axis=0)] * 2)
    state, _ = step(state_of(optimizer=optimizer), batch_of(1), full, 0)
    before = adam_parts(state)
    offered = SPACE.sample(6, np.random.default_rng(4)).reshape(2, 3, -1)
    losses = np.asarray(
        [
            [learnt(g, weights=before[0])[1] for g in candidates]
            for candidates in offered
        ]
    )
    picked = losses[0].argmin(), losses[1].argmax()
    assert picked[0] > 0
    state, metrics = step(state, batch_of(), draw_of(*offered), 1)
    assert_close(metrics.losses, losses[np.arange(2), picked])
    after = adam_parts(state)
    genotypes = [row[pick] for row, pick in zip(offered, picked, strict=True)]
    parts = [active_parts(SPEC, SPACE.decode(genotype)) for genotype in genotypes]
    for name in before[0]:
        used = parts[0][name] | parts[1][name]
        for old, new in zip(before, after, strict=True):
            assert_equal(new[name][~used], old[name][~used])
            assert (new[name] != old[name])[used].all()
    assert int(state.optimizer[1][0].count) == 2
    idle = sum((~(parts[0][n] | parts[1][n])).sum() for n in before[0])
    assert idle > 100


def test_training_lowers_the_loss_of_every_subnet(step):
    state, batch = state_of(), batch_of()
    state, first = step(state, batch, draw(0), 0)
    for number in range(1, 150):
        state, metrics = step(state, batch, draw(0), number)
    assert (np.asarray(metrics.losses) < 0.9 * np.asarray(first.losses)).all()


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ((), "at least one slot"),
        (
            (LARGEST, Slot(role="sampled", teacher="frozen")),
            r"slot 1 \(sampled\) learns from the 'frozen' network, .* \['data', "
            r"'previous', 'largest'\]",
        ),
        ((Slot(role="sampled", teacher="previous"),), "slot 0 .* there are .'data'"),
        (
            (Slot(role="sampled"), Slot(role="sampled", teacher="largest")),
            "learns from the 'largest' network",
        ),
        (
            (
                Slot(role="largest", fixed=True, optional=True),
                Slot(role="sampled", teacher="largest"),
            ),
            "learns from the 'largest' network",
        ),
    ],
)
def test_a_teacher_that_is_not_there_is_refused(slots, message):
    with pytest.raises(ValueError, match=message):
        quick_step(SPEC, slots)


def test_a_loss_that_cannot_be_had_is_refused():
    with pytest.raises(ValueError, match="no noise"):
        quick_step(
            SPEC,
            (LARGEST,),
            losses=Losses(largest=ExitLoss(), data=CrossEntropy()),
            regularization=Regularization(dropout=0.1),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": np.ones(3, np.float32)}, "4 slots of up to 1 candidates; .* 3 w"),
        ({"genotypes": draw(0).genotypes[:2]}, r"genotypes of shape \(2, 1, "),
        ({"weights": np.asarray([1, 0, 1, 1], np.float32)}, "'smallest' has weight 0"),
        ({"weights": np.asarray([1, 1, -1, 1], np.float32)}, "has weight -1"),
        ({"weights": np.asarray([np.nan] * 4, np.float32)}, "has weight nan"),
        ({"genotypes": draw(0).genotypes + 3}, "not a member"),
    ],
)
def test_a_draw_that_does_not_fit_is_refused(step, changes, message):
    with pytest.raises(ValueError, match=message):
        step(state_of(), batch_of(), draw(0)._replace(**changes), 0)


def test_a_draw_without_any_weight_is_refused():
    step = quick_step(SPEC, (Slot(role="largest", fixed=True, optional=True),))
    with pytest.raises(ValueError, match="nothing to train"):
        step(state_of(), batch_of(), draw_of(SPACE.largest[None], weights=(0.0,)), 0)


def test_a_module_that_is_no_supernet_is_refused():
    class Constant(nnx.Module):
        def __init__(self):
            self.weight = nnx.Param(jnp.ones(2))

    step = make_train_step(Constant(), SPACE, DESCENT, (LARGEST,))
    state = initial_state(Constant(), DESCENT)
    with pytest.raises(TypeError, match="Constant is no supernet"):
        step(state, batch_of(), draw_of(SPACE.largest[None]), 0)
