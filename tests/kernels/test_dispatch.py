"""Which way an operation runs on traced sizes, why, and who is told."""

import contextlib
from typing import get_args

import jax
import jax.numpy as jnp
import pytest

from kernels import tiles
from kernels.dispatch import (
    LEAST_SAVED,
    MOST_BODIES,
    VARIABLE,
    Decision,
    choose,
    recorded,
    run,
)
from kernels.executions import Execution, ExecutionError
from kernels.extents import Fixed, Indexed, Mixed, largest_size
from kernels.feed_forward import FeedForward, FeedForwardWeights
from kernels.normalization import RmsNorm
from kernels.operation import Call
from tests.kernels.comparison import assert_close, normal, quick_jit

ROWS, FEATURES, HIDDEN = 16, 64, 128
HALVES = (HIDDEN // 2, HIDDEN)
"""Of these a switch saves a quarter: rows x features x hidden / 2 operations."""

TRACED = ("masked", "switched", "pallas")


@pytest.fixture(autouse=True)
def free_choice(monkeypatch):
    """Nothing is forced from outside, and no kernel is interpreted."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(tiles.INTERPRET, raising=False)


def network(hidden, *, features=FEATURES, largest=HIDDEN):
    extent = features if isinstance(features, Indexed) else Fixed(features)
    width = largest_size(extent)
    weights = FeedForwardWeights(
        jnp.asarray(normal((width, largest), 0, 0.1)),
        jnp.asarray(normal((largest, width), 1, 0.1)),
    )
    return Call(FeedForward(), (extent, hidden), weights)


def indexed(choices, execution="auto", index=0):
    return Indexed(jnp.asarray(index), tuple(choices), execution)


def inputs(rows=ROWS, features=FEATURES):
    return jnp.asarray(normal((rows, features), 2))


def trace(call, x):
    jax.eval_shape(lambda: run(call, x))


def applied(operation):
    """Calls of an operation, as a function of what is traced in them."""
    return lambda extents, weights, x: run(Call(operation, extents, weights), x)


def execution_of(call, x):
    """How an operation really runs: by what its program consists of."""
    program = str(jax.make_jaxpr(applied(call.operation))(*call[1:], x))
    # Kernels have branches too.
    marks = {"pallas_call": "pallas", "cond[": "switched"}
    return next((way for mark, way in marks.items() if mark in program), "masked")


def test_few_bodies_that_save_enough_are_switched():
    assert ROWS * FEATURES * HIDDEN // 2 == LEAST_SAVED
    call, x = network(indexed(HALVES)), inputs()
    reason = "2 bodies, on average 75% of the largest's work"
    assert choose(call, x) == ("switched", reason)
    assert execution_of(call, x) == "switched"


def test_bodies_that_save_less_than_a_switch_costs_are_masked():
    call, x = network(indexed(HALVES)), inputs(rows=ROWS - 1)
    work = 2 * x.shape[0] * FEATURES * HIDDEN
    reason = f"would save {work // 4} operations of {work}, fewer than it costs"
    assert choose(call, x) == ("masked", f"not switched: it {reason}")
    assert execution_of(call, x) == "masked"


def test_a_norm_of_few_features_is_masked():
    norm = Call(RmsNorm(), (indexed((32, FEATURES)),), jnp.ones(FEATURES))
    assert choose(norm, inputs())[0] == "masked"


@pytest.mark.parametrize(
    ("bodies", "execution"), [(MOST_BODIES, "switched"), (MOST_BODIES + 1, "masked")]
)
def test_more_bodies_than_are_worth_compiling_are_masked(bodies, execution):
    call = network(indexed(range(HIDDEN - bodies + 1, HIDDEN + 1)))
    chosen, reason = choose(call, inputs(rows=1024))
    assert chosen == execution
    told = f"not switched: {bodies} bodies to compile, more than {MOST_BODIES}"
    assert (reason == told) == (execution == "masked")


def test_bodies_are_counted_once_for_all_sizes_that_compute_nothing():
    features, hidden = (8, 16, 32, 64), (0, 16, 32, 64, 128)
    call = network(indexed(hidden), features=indexed(features))
    told = f"{len(features) * (len(hidden) - 1) + 1} bodies"
    assert told in choose(call, inputs(rows=1024))[1]


def test_bodies_are_counted_once_for_sizes_that_repeat():
    hidden = (64,) * MOST_BODIES + (HIDDEN,)
    assert choose(network(indexed(hidden)), inputs()) == (
        "switched",
        "2 bodies, on average 75% of the largest's work",
    )


@pytest.mark.parametrize("execution", TRACED)
def test_a_forced_execution_runs_and_computes_the_same(execution, monkeypatch):
    monkeypatch.setenv(tiles.INTERPRET, "1")
    choices, x = (2, 3), inputs(rows=2, features=4)
    call = network(indexed(choices, execution), features=4, largest=3)
    with recorded() as made:
        output = quick_jit(applied(call.operation))(*call[1:], x)
    assert made == [Decision("FeedForward", execution, "asked for")]
    assert_close(output, run(call._replace(extents=(Fixed(4), Fixed(2))), x))
    assert execution_of(call, x) == execution


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about CPUs")
def test_kernels_are_refused_where_nothing_compiles_them():
    call = network(indexed(HALVES, "pallas"))
    with pytest.raises(ExecutionError, match="to FeedForward: Pallas has no compiler"):
        choose(call, inputs())


def test_kernels_run_where_they_are_interpreted(monkeypatch):
    monkeypatch.setenv(tiles.INTERPRET, "1")
    call = network(indexed(HALVES, "pallas"))
    assert choose(call, inputs()) == ("pallas", "asked for")


def test_kernels_are_not_chosen_unless_asked_for(monkeypatch):
    monkeypatch.setenv(tiles.INTERPRET, "1")
    assert choose(network(indexed(HALVES)), inputs())[0] == "switched"
    assert choose(network(indexed(HALVES)), inputs(rows=1))[0] == "masked"


def test_a_switch_of_too_many_bodies_is_refused():
    call = network(indexed(range(1, MOST_BODIES + 2), "switched"))
    told = f"'switched' does not apply to FeedForward: {MOST_BODIES + 1} bodies"
    with pytest.raises(ExecutionError, match=f"{told}.*use 'auto'"):
        run(call, inputs())


def test_a_switch_that_saves_little_is_not_refused():
    call = network(indexed(HALVES, "switched"))
    assert choose(call, inputs(rows=1)) == ("switched", "asked for")


@pytest.mark.parametrize("execution", TRACED)
def test_the_environment_forces_an_execution_on_all_extents(execution, monkeypatch):
    monkeypatch.setenv(tiles.INTERPRET, "1")
    monkeypatch.setenv(VARIABLE, execution)
    for asked in get_args(Execution):
        call = network(indexed(HALVES, asked))
        assert choose(call, inputs()) == (execution, "asked for")


def test_the_environment_can_give_the_choice_back(monkeypatch):
    monkeypatch.setenv(VARIABLE, "auto")
    call = network(indexed(HALVES, "masked"))
    assert choose(call, inputs())[0] == "switched"


@pytest.mark.parametrize("asked", ["auto", "masked"])
def test_an_unknown_name_in_the_environment_lists_those_there_are(asked, monkeypatch):
    monkeypatch.setenv(VARIABLE, "swiched")
    told = f"{VARIABLE} is 'swiched'; there are auto, masked, switched, pallas"
    with pytest.raises(ExecutionError, match=told):
        run(network(indexed(HALVES, asked)), inputs())


def test_extents_that_ask_for_different_executions_are_refused():
    features = indexed((32, FEATURES), "switched")
    call = network(indexed(HALVES, "masked"), features=features)
    with pytest.raises(ExecutionError, match=r"ask for \['masked', 'switched'\]"):
        choose(call, inputs())


def test_an_extent_without_a_wish_follows_the_others():
    call = network(indexed(HALVES), features=indexed((32, FEATURES), "masked"))
    assert choose(call, inputs()) == ("masked", "asked for")


@pytest.mark.parametrize("kind", ["fixed", "mixed"])
def test_only_traced_sizes_are_decided_about(kind, monkeypatch):
    monkeypatch.setenv(VARIABLE, "switched")
    mixed = Mixed(jnp.asarray([0.5, 0.5]), HALVES)
    call = network(Fixed(HIDDEN) if kind == "fixed" else mixed)
    with recorded() as made:
        trace(call, inputs())
    assert not made
    assert execution_of(call, inputs()) != "switched"


def test_decisions_are_recorded_in_order_and_once_for_a_program():
    first, second = network(indexed(HALVES, "masked")), network(indexed(HALVES))
    program, x = quick_jit(applied(first.operation)), inputs()
    with recorded() as made:
        for call in (first, second, first):
            program(*call[1:], x)
    assert [(d.operation, d.execution) for d in made] == [
        ("FeedForward", "masked"),
        ("FeedForward", "switched"),
    ]


def test_nothing_is_recorded_after_the_block():
    call, x = network(indexed(HALVES)), inputs()
    with recorded() as made:
        trace(call, x)
    trace(call, x)
    assert len(made) == 1


@pytest.mark.parametrize("before", [0, 1])
def test_a_block_within_a_block_collects_what_is_its_own(before):
    call, x = network(indexed(HALVES)), inputs()
    with recorded() as outer:
        for _ in range(before):
            trace(call, x)
        with recorded() as inner:
            pass
        trace(call, x)
        assert not inner
        assert len(outer) == before + 1
        with recorded() as later:
            trace(call, x)
        assert len(later) == 1
    trace(call, x)
    assert (len(outer), len(inner), len(later)) == (before + 2, 0, 1)


def test_an_error_ends_the_recording():
    call, x = network(indexed(HALVES)), inputs()
    with recorded() as outer, contextlib.suppress(ExecutionError), recorded() as inner:
        trace(call, x)
        run(network(indexed(range(1, 100), "switched")), x)
    trace(call, x)
    assert len(inner) == len(outer) == 1
