"""Measured latency of whole networks on this device."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from supernets.network import Inputs
from supernets.weights import Params

WARM_UPS = 3

CPU_QUANTILE = 0.1
"""On a shared CPU other work only ever adds time, so a low quantile repeats best."""

Program = Callable[[], object]


def compile_all(
    networks: Sequence[nnx.Module],
    inputs: Inputs,
    *,
    on_compiled: Callable[[int], None],
    threads: int,
) -> list[Program]:
    """Compiles each network ahead of time for one input that lies on the device.

    Args:
        networks: Plain networks.
        inputs: The input of every call, tokens or images.
        on_compiled: Told how many are done.
        threads: Compilations at once; XLA compiles outside the interpreter lock.
    """
    device_inputs = jax.device_put(inputs)

    def compiled(network: nnx.Module) -> Program:
        graph, held = nnx.split(network)
        params = jax.device_put(held)

        @jax.jit
        def run(params: Params, inputs: Array) -> PyTree:
            return nnx.merge(graph, params)(inputs)

        program = run.lower(params, device_inputs).compile()
        return lambda: jax.block_until_ready(program(params, device_inputs))

    programs = []
    with ThreadPoolExecutor(threads) as pool:
        for program in pool.map(compiled, networks):
            programs.append(program)
            on_compiled(len(programs))
    return programs


def measure(
    programs: Sequence[Program], *, rounds: int, seed: int
) -> Float[np.ndarray, "programs rounds"]:
    """Times every program once a round, in shuffled order, after warming up.

    Rounds spread each program's samples over the whole measurement, so that a slow
    minute of the machine touches all of them alike.

    Returns:
        Every sample, in milliseconds.
    """
    for program in programs:
        for _ in range(WARM_UPS):
            program()
    rng = np.random.default_rng(seed)
    samples = np.zeros((len(programs), rounds))
    for column in range(rounds):
        for row in rng.permutation(len(programs)):
            start = time.perf_counter()
            programs[row]()
            samples[row, column] = 1e3 * (time.perf_counter() - start)
    return samples


def summary(
    samples: Float[np.ndarray, "programs rounds"],
) -> Float[np.ndarray, " programs"]:
    """Returns one latency per program: a low quantile on a CPU, else the median."""
    shared = jax.default_backend() == "cpu"
    return np.quantile(samples, CPU_QUANTILE if shared else 0.5, axis=1)
