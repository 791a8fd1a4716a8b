"""How many subnets run side by side."""

import os
import types

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernets.population import chunk_size, free_bytes

BYTES = st.integers(0, 10_000)


class Compiler:
    """Temporaries of programs that are linear in the number of subnets."""

    def __init__(self, shared, each):
        self.shared, self.each = shared, each
        self.asked = []

    def __call__(self, count):
        self.asked.append(count)
        return self.temporaries(count)

    def temporaries(self, count):
        return self.shared + count * self.each


@given(BYTES, BYTES, st.integers(1, 5_000), BYTES)
def test_a_chunk_is_the_largest_power_of_two_that_fits(
    shared, each, population, budget
):
    compiler = Compiler(shared, each)
    chunk = chunk_size(compiler, population=population, budget=budget)
    assert 1 <= chunk <= population
    assert chunk.bit_count() == 1
    if chunk > 1:
        assert compiler.temporaries(chunk) <= budget
    if each > 0 and compiler.temporaries(1) <= budget:
        twice = 2 * chunk
        assert twice > population or compiler.temporaries(twice) > budget


@given(BYTES, BYTES, st.integers(0, 5_000), BYTES)
def test_at_most_two_programs_are_compiled_to_find_out(
    shared, each, population, budget
):
    compiler = Compiler(shared, each)
    chunk_size(compiler, population=population, budget=budget)
    assert len(compiler.asked) == len(set(compiler.asked)) <= 2
    assert all(count <= max(population, 1) for count in compiler.asked)


@pytest.mark.parametrize("population", [0, 1])
def test_nothing_is_compiled_for_less_than_two_subnets(population):
    compiler = Compiler(0, 1)
    assert chunk_size(compiler, population=population, budget=100) == 1
    assert not compiler.asked


@pytest.mark.parametrize(
    ("budget", "chunk"), [(0, 1), (179, 1), (180, 2), (339, 2), (340, 4), (9999, 16)]
)
def test_a_chunk_grows_with_the_budget(budget, chunk):
    compiler = Compiler(shared=20, each=80)
    assert chunk_size(compiler, population=20, budget=budget) == chunk


def test_subnets_without_temporaries_of_their_own_all_fit():
    assert chunk_size(Compiler(50, 0), population=64, budget=200) == 64


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about CPUs")
def test_a_cpu_has_free_memory_but_not_more_than_it_has():
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_bytes() < physical


def accelerator(stats):
    return types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)


def test_an_accelerator_has_half_of_what_is_not_in_use(monkeypatch):
    device = accelerator({"bytes_limit": 1_000, "bytes_in_use": 200})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert free_bytes() == 400


@pytest.mark.parametrize("stats", [None, {}, {"bytes_in_use": 200}])
def test_an_accelerator_that_does_not_tell_is_an_error(stats, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [accelerator(stats)])
    with pytest.raises(NotImplementedError, match="does not tell how much memory"):
        free_bytes()
