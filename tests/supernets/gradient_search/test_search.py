"""Whole searches: the best subnet within bounds, and nothing outside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from supernets.gradient_search.network import mixed_network
from supernets.gradient_search.search import Candidate, rounds, search, sweep
from supernets.gradient_search.specs import Alternating, GradientSearch
from supernets.gradient_search.state import Batches, from_arrays, to_arrays
from supernets.gradient_search.step import make_search_step
from supernets.losses.loss import Batch
from supernets.lowering import indexed_extents
from supernets.optimizers.adamw import AdamW
from supernets.policies.policy import Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.training import initial_state
from tests.kernels.comparison import assert_equal, quick_jit
from tests.supernets.gradient_search.test_step import LIMITS, started
from tests.supernets.gradient_search.toy import (
    HIDDEN,
    data,
    losses,
    trained,
)
from tests.supernets.steps import quick_step
from tests.supernets.toy import small_decoder

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

KEY_SEED = 3


def evaluate(params, genotypes):
    """Losses of students on data of their own."""
    return np.asarray(losses(params, data(0, half=2)), float)[genotypes[:, 0]]


def batches(_):
    return Batches(data(0, half=1), data(0))


def found_in(spec, limits, **options):
    step, _ = started(spec)
    state = step.initial_state(trained(0), key=jax.random.key(0))
    return search(
        step, state, batches, limits, evaluate, key=jax.random.key(KEY_SEED), **options
    )


SHORT = GradientSearch(steps=30, learning_rate=0.2)


@pytest.mark.parametrize("limit", [2.0, 5.0, 8.0, 31.0, 32.0])
def test_the_best_student_within_each_limit_is_found(limit):
    found = found_in(SHORT, {"hidden": limit})
    all_losses = evaluate(trained(0), np.arange(5)[:, None])
    allowed = np.asarray(HIDDEN.values) <= limit
    best = np.argmin(np.where(allowed, all_losses, np.inf))
    assert found.best == Candidate((best,), float(all_losses[best]))


@pytest.mark.parametrize("most", [1, 2, 4])
def test_rounds_look_at_no_more_subnets_than_they_may(most):
    step, _ = started(SHORT)
    state = step.initial_state(trained(0), key=jax.random.key(0))
    asked = []

    def counted(params, genotypes):
        asked.extend(genotypes[:, 0].tolist())
        return evaluate(params, genotypes)

    key = jax.random.key(KEY_SEED)
    going = rounds(step, state, batches, LIMITS, counted, key=key, most=most)
    done = list(going)
    assert done[:3] == [10, 20, 30]
    assert set(done[3:]) <= {30}
    # None is asked for twice.
    assert 1 <= len(asked) == len(set(asked)) <= most


def test_a_search_goes_on_from_a_saved_state():
    saved = {}

    def save(number, state, _):
        if number == 11:
            saved.update(to_arrays(state))

    whole = found_in(SHORT, LIMITS, on_step=save)
    step, fresh = started(SHORT)
    again = search(
        step,
        from_arrays(fresh, saved),
        batches,
        LIMITS,
        evaluate,
        key=jax.random.key(KEY_SEED),
        start=12,
        known=whole.candidates[:1],
    )
    assert again.best == whole.best
    assert_equal(to_arrays(again.state), to_arrays(whole.state))


def test_a_search_that_had_ended_is_read_again():
    whole = found_in(SHORT, LIMITS)
    step, _ = started(SHORT)
    again = search(
        step, whole.state, batches, LIMITS, evaluate, key=jax.random.key(0), start=30
    )
    assert again.best == whole.best


def test_limits_that_nothing_keeps_are_an_error():
    with pytest.raises(ValueError, match="found no subnet within"):
        found_in(SHORT, {"hidden": 1.0})


def test_a_sweep_gives_a_front():
    step, _ = started(SHORT)
    bounds = [{"hidden": float(size)} for size in HIDDEN.values]
    key = jax.random.key(0)
    front = sweep(step, trained(0), batches, bounds, evaluate, key=key)
    sizes = [HIDDEN.values[found.best.genotype[0]] for found in front]
    assert all(s <= b["hidden"] for s, b in zip(sizes, bounds, strict=True))
    values = [found.best.loss for found in front]
    assert values == sorted(values, reverse=True)


def test_weights_that_move_are_evaluated_at_the_end_alone():
    told = []

    def watched(params, genotypes):
        told.append(jax.tree.map(np.array, params))
        return evaluate(params, genotypes)

    spec = GradientSearch(
        steps=12, decode_every=2, regime=Alternating(optimizer=AdamW())
    )
    step, state = started(spec)
    found = search(step, state, batches, LIMITS, watched, key=jax.random.key(0))
    for params in told:
        assert_equal(params, jax.tree.map(np.array, found.state.params))


VOCABULARY, TOKENS = 16, 8


def language(seed, count):
    """Sentences in which a word follows from the two before it, most of the time."""
    table = np.random.default_rng(0).dirichlet(np.full(16, 0.15), size=(16, 16))
    rng = np.random.default_rng(seed)
    words = rng.integers(0, VOCABULARY, (count, TOKENS + 1)).astype(np.int32)
    for place in range(2, TOKENS + 1):
        edges = table[words[:, place - 2], words[:, place - 1]].cumsum(-1)
        drawn = (rng.random((count, 1)) >= edges).sum(-1)
        words[:, place] = np.minimum(drawn, VOCABULARY - 1)
    return Batch(jnp.asarray(words[:, :-1]), jnp.asarray(words[:, 1:]))


@pytest.mark.long
def test_the_optimum_of_a_decoder_is_found_within_its_bounds():
    spec = small_decoder(
        width=(8, 12, 16),
        ffn=(4, 8, 16, 32),
        depth=(1, 2, 3),
        vocabulary=VOCABULARY,
    )
    space, steps = spec.space(), 300
    network = mixed_network(spec.build(rngs=nnx.Rngs(0)))

    def macs(genotypes):
        return spec.costs(genotypes, batch=1, example=(TOKENS,))["macs"]

    policy, optimizer = Sandwich(), AdamW(learning_rate=1e-2).transform(steps)
    train = quick_step(spec, policy.slots(space), optimizer, execution="masked")
    state = initial_state(spec.build(rngs=nnx.Rngs(0)), optimizer)
    subnets = Subnets(space, macs)
    for number in range(steps):
        draw = policy.draw(subnets, Moment(0, number, steps))
        state, _ = train(state, language([1, number], 64), draw, number)
    params, held_out = state.params, language([2], 256)

    @quick_jit
    def all_losses(genotypes):
        def one(genotype):
            extents = indexed_extents(space, genotype, "masked")
            return network.loss(params, extents, held_out)

        return jax.lax.map(one, genotypes)

    every = space.enumerate()
    truth = np.asarray(all_losses(jnp.asarray(every)), float)
    where = {tuple(row): index for index, row in enumerate(every.tolist())}
    evaluated = set()

    def evaluate(_, genotypes):
        names = [tuple(row) for row in genotypes.tolist()]
        evaluated.update(names)
        return np.asarray([truth[where[name]] for name in names])

    step = make_search_step(network, space, GradientSearch(steps=150), {"macs": macs})
    part = [jax.tree.map(lambda leaf, r=r: leaf[r::4], held_out) for r in range(4)]
    largest = float(macs(space.largest[None])[0])
    right, most = 0, 0
    for share in (0.25, 0.4, 0.55, 0.7, 0.85):
        limits = {"macs": share * largest}
        for seed in range(2):
            evaluated.clear()
            first, key = jax.random.split(jax.random.key(seed))
            found = search(
                step,
                step.initial_state(params, key=first),
                lambda number: Batches(architecture=part[number % 4]),
                limits,
                evaluate,
                key=key,
            )
            assert macs(np.asarray([found.best.genotype]))[0] <= limits["macs"]
            right += found.best.loss <= truth[macs(every) <= limits["macs"]].min()
            most = max(most, len(evaluated))
    assert len(every) == 1752
    assert most <= 80
    assert right >= 8
