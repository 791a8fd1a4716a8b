"""Measured latency: what is compiled, timed and summarised, not how long it takes."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from supernets import latency
from supernets.latency import WARM_UPS, compile_all, measure, summary
from tests.kernels.comparison import assert_close, normal


class Table(nnx.Module):
    def __init__(self, features):
        self.rows = nnx.Param(jnp.asarray(normal((5, features), 0)))

    def __call__(self, tokens):
        return self.rows[...][tokens]


@pytest.mark.parametrize("threads", [1, 3])
def test_networks_are_compiled_in_order_and_progress_is_told(threads, compilations):
    networks = [Table(features) for features in (2, 3, 4, 5)]
    tokens = jnp.asarray([[0, 4, 2]])
    told, compilations[:] = [], []
    programs = compile_all(networks, tokens, on_compiled=told.append, threads=threads)
    assert told == [1, 2, 3, 4]
    assert len(compilations) == len(networks)
    for network, program in zip(networks, programs, strict=True):
        assert_close(program(), network.rows[...][tokens])
    assert len(programs) == len(networks)


def test_calling_a_program_compiles_nothing_more(compilations):
    tokens = jnp.asarray([[0, 1]])
    (program,) = compile_all([Table(3)], tokens, on_compiled=id, threads=1)
    compilations.clear()
    program()
    program()
    assert not compilations


def test_every_program_is_warmed_up_and_then_sampled_once_a_round():
    calls = []
    programs = [lambda name=name: calls.append(name) for name in "abc"]
    samples = measure(programs, rounds=4, seed=0)
    assert samples.shape == (3, 4)
    assert (samples > 0).all()
    warm, timed = calls[: 3 * WARM_UPS], calls[3 * WARM_UPS :]
    assert sorted(warm) == sorted("abc" * WARM_UPS)
    rounds = [timed[start : start + 3] for start in range(0, len(timed), 3)]
    assert [sorted(names) for names in rounds] == [["a", "b", "c"]] * 4
    assert len({tuple(names) for names in rounds}) > 1


def test_the_seed_decides_the_order_of_a_round():
    def order(seed):
        calls = []
        programs = [lambda name=name: calls.append(name) for name in "abcdef"]
        measure(programs, rounds=3, seed=seed)
        return calls

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_samples_are_the_milliseconds_that_each_program_took(monkeypatch):
    now = [0.0]

    def program(seconds):
        return lambda: now.append(now[-1] + seconds)

    clock = types.SimpleNamespace(perf_counter=lambda: now[-1])
    monkeypatch.setattr(latency, "time", clock)
    samples = measure([program(0.25), program(0.5)], rounds=3, seed=0)
    assert samples.tolist() == [[250.0] * 3, [500.0] * 3]


def test_a_shared_processor_is_summarised_by_a_low_quantile(monkeypatch):
    samples = np.arange(22.0).reshape(2, 11)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert summary(samples).tolist() == [1.0, 12.0]
    samples[:, 5:] += 1000.0
    assert summary(samples).tolist() == [1.0, 12.0]


def test_an_accelerator_is_summarised_by_the_median(monkeypatch):
    samples = np.arange(22.0).reshape(2, 11)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert summary(samples).tolist() == [5.0, 16.0]
