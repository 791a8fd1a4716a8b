"""The law for whole networks: the same subnet in every execution, from one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import tiles
from kernels.dispatch import VARIABLE
from kernels.executions import ExecutionError
from search.space import Choice, Space
from supernets.decoder.spec import Decoder
from supernets.execution import decisions, outer_branches, run_subnet
from supernets.losses.entropy import cross_entropy
from supernets.lowering import fixed_extents
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.toy import (
    TOKENS,
    active_parts,
    decoder_arguments,
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)
from tests.variants import mainly

EXECUTIONS = [
    "masked",
    "switched",
    # Interpreted, which takes a while.
    pytest.param("pallas", marks=pytest.mark.slow),
]


@pytest.fixture(params=EXECUTIONS)
def execution(request, monkeypatch):
    """An execution; kernels are interpreted, for want of a compiler for the CPU."""
    if request.param == "pallas":
        monkeypatch.setenv(tiles.INTERPRET, "1")
    return request.param


def outcome_of(spec: Decoder):
    """Loss and gradients of the subnet that extents select."""

    def run(extents, weights, inputs, targets):
        def loss(weights):
            return cross_entropy(with_weights(spec, weights)(inputs, extents), targets)

        return jax.value_and_grad(loss)(weights)

    return run


def traced(spec: Decoder, execution):
    """One program for all subnets."""

    def run(genotype, weights, inputs, targets):
        operands = weights, inputs, targets
        function = outcome_of(spec)
        return run_subnet(
            spec.space(), genotype, function, *operands, execution=execution
        )

    return run


def expected(spec: Decoder, genotype, *operands):
    extents = fixed_extents(spec.space(), genotype)
    return quick_jit(lambda *given: outcome_of(spec)(extents, *given))(*operands)


@pytest.mark.slow
@pytest.mark.parametrize("rule", mainly("free", "prefix"))
@pytest.mark.parametrize("mode", ["masked", "switched"])
@settings(max_examples=2)
@given(decoder_arguments(), st.integers(0, 99))
def test_a_subnet_is_the_same_in_every_execution(rule, mode, arguments, seed):
    spec = Decoder(**arguments, depth_rule=rule)
    operands = random_weights(spec, seed), *random_windows(seed)
    run = quick_jit(traced(spec, mode))
    population = spec.space().sample(3, np.random.default_rng(seed))
    for row, genotype in enumerate(population):
        outcome = run(jnp.asarray(genotype), *operands)
        parts = active_parts(spec, spec.space().decode(genotype))
        for name, part in parts.items():
            assert not np.any(outcome[1][name], where=~part), name
        if row == 0:
            assert_close(outcome, expected(spec, genotype, *operands))
        poison = dict(operands[0])
        for name, part in parts.items():
            bad = np.resize([np.nan, np.inf], part.shape)
            poison[name] = np.where(part, poison[name], bad).astype(np.float32)
        assert_equal(run(jnp.asarray(genotype), poison, *operands[1:]), outcome)


def test_a_decoder_is_the_same_in_every_execution(execution):
    spec = small_decoder(heads=(2, 4), group=2, depth=(1, 2), norm="layer")
    operands = random_weights(spec), *random_windows()
    run = quick_jit(traced(spec, execution))
    for genotype in (spec.space().smallest, spec.space().largest):
        outcome = run(jnp.asarray(genotype), *operands)
        assert_close(outcome, expected(spec, genotype, *operands))


@pytest.mark.slow
def test_one_program_runs_all_subnets(execution, compilations):
    spec = small_decoder()
    operands = random_weights(spec), *random_windows()
    run = quick_jit(traced(spec, execution))
    population = jnp.asarray(spec.space().sample(12, np.random.default_rng(0)))
    run(population[0], *operands)
    before = len(compilations)
    losses = [float(run(genotype, *operands)[0]) for genotype in list(population)]
    # Taking rows out of the population compiles once.
    assert len(compilations) <= before + 1
    assert len(set(losses)) > 6


@pytest.mark.slow
def test_mapped_over_subnets_nothing_is_switched():
    spec = small_decoder(width=(4, 8), depth=(2,), ffn=(3, 6))
    operands = random_weights(spec), *random_windows()
    run = traced(spec, "switched")
    population = jnp.asarray(spec.space().sample(4, np.random.default_rng(0)))
    mapped = jax.vmap(run, (0, None, None, None))
    assert " cond[" in str(jax.make_jaxpr(run)(population[0], *operands))
    assert " cond[" not in str(jax.make_jaxpr(mapped)(population, *operands))
    one_by_one = quick_jit(run)
    rows = [one_by_one(genotype, *operands) for genotype in list(population)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    assert_close(quick_jit(mapped)(population, *operands), stacked)


def test_the_choices_of_the_whole_network_are_the_outer_branches():
    assert outer_branches(small_decoder(width=(4, 6)).space()) == [
        {"width": 4},
        {"width": 6},
    ]
    wide = tuple(range(2, 22, 2))
    assert outer_branches(small_decoder(width=wide).space()) == [{}]
    two = Space(choices=(Choice("a", (1, 2)), Choice("b", (3, 4, 5))), layers=1)
    assert outer_branches(two)[4] == {"a": 2, "b": 4}
    assert len(outer_branches(two)) == 6


def test_the_first_choices_are_static_as_far_as_branches_go():
    def branches(*counts):
        choices = [
            Choice(f"choice{number}", tuple(range(1, count + 1)))
            for number, count in enumerate(counts)
        ]
        return outer_branches(Space(choices=tuple(choices), layers=1))

    # One for each pair of the first two: with the third there would be 12.
    assert branches(2, 3, 2) == [
        {"choice0": first, "choice1": second}
        for first in (1, 2)
        for second in (1, 2, 3)
    ]
    assert branches(3, 3, 2) == [{"choice0": 1}, {"choice0": 2}, {"choice0": 3}]
    assert branches(9, 2) == [{}]
    assert len(branches(8)) == len(branches(1, 2, 1, 4)) == 8


@pytest.mark.slow
def test_with_too_many_widths_activations_are_padded_instead():
    spec = small_decoder(width=tuple(range(2, 22, 2)), depth=(1,), ffn=(3,), heads=(1,))
    operands = random_weights(spec), *random_windows()
    run = quick_jit(traced(spec, "switched"))
    for genotype in spec.space().sample(3, np.random.default_rng(0)):
        outcome = run(jnp.asarray(genotype), *operands)
        assert_close(outcome, expected(spec, genotype, *operands))


@pytest.mark.slow
def test_decisions_tell_how_operations_run_and_why(monkeypatch):
    tokens = jax.ShapeDtypeStruct((2, TOKENS), jnp.int32)

    def made(spec, execution="auto"):
        supernet = unweighted(spec)
        return set(decisions(supernet, spec.space(), tokens, execution=execution))

    small, large = small_decoder(), small_decoder(ffn=(64, 65_536))
    assert {d.execution for d in made(small)} == {"masked"}
    assert all("fewer than it costs" in d.reason for d in made(small))
    switched = [d for d in made(large) if d.execution == "switched"]
    assert [d.operation for d in switched] == ["FeedForward"]
    assert switched[0].reason.startswith("3 bodies, on average 33% of the largest")
    assert {d.execution for d in made(small, "switched")} == {"switched"}
    monkeypatch.setenv(VARIABLE, "masked")
    assert {d.execution for d in made(large)} == {"masked"}


def test_kernels_that_cannot_run_here_are_refused_with_the_reason():
    spec = small_decoder()
    operands = random_weights(spec), *random_windows()
    genotype = jnp.asarray(spec.space().largest)
    with pytest.raises(ExecutionError, match="SelfAttention: Pallas has no compiler"):
        traced(spec, "pallas")(genotype, *operands)
