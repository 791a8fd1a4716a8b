"""Evaluating a population with one program against compiling each of its members."""

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from experiments.benchmarks.execution_rounds import Program, Run, alternate, median
from kernels.extents import Execution
from search.space import Genotype, Genotypes
from search.workers import CHUNK
from supernets.decoder.elastic import ElasticDecoder
from supernets.decoder.extraction import extract
from supernets.decoder.spec import Decoder
from supernets.evaluation import make_evaluate
from supernets.losses.entropy import NATS_PER_BIT, cross_entropy
from supernets.weights import Params

EXECUTIONS: tuple[Execution, ...] = ("masked", "switched", "auto")

POPULATION = 64
COMPILED = 6
"""Members that are extracted and compiled; the others would take as long."""

MOST_ROUNDS = 5
"""A round runs the whole population in every way."""

Windows = tuple[Int[np.ndarray, "windows tokens"], Int[np.ndarray, "windows tokens"]]


def measure_population(
    decoder: Decoder, *, windows: int, tokens: int, rounds: int
) -> dict[str, Any]:
    """Times the evaluation of random subnets as the search does it.

    Args:
        decoder: The supernet.
        windows: Sequences that each subnet is evaluated on.
        tokens: Their length.
        rounds: Timed evaluations by each execution; at most `MOST_ROUNDS` are done.

    Returns:
        Seconds of one program for all, and of its compilation; and the same, scaled
        from `COMPILED` members, of extracting and compiling every network by itself.
    """
    supernet = decoder.build(rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    population = decoder.space().sample(POPULATION, rng)
    text = rng.integers(decoder.vocabulary, size=(windows, tokens + 1), dtype=np.int32)
    data: Windows = (text[:, :-1], text[:, 1:])
    runs: dict[str, Run] = {}
    compiling: dict[str, float] = {}
    for execution in EXECUTIONS:
        evaluate = _evaluator(decoder, supernet, execution, data)
        # The first call compiles, which is what it takes longer than the second.
        first, second = (_seconds(evaluate, population[:CHUNK]) for _ in range(2))
        compiling[execution] = max(first - second, 0.0)
        runs[execution] = functools.partial(evaluate, population)
    start = time.perf_counter()
    networks = [_extracted(decoder, supernet, m, data) for m in population[:COMPILED]]
    scale = POPULATION / COMPILED
    compiling["extracted"] = scale * (time.perf_counter() - start)
    runs["extracted"] = lambda: [run() for run in networks]
    rounds = min(rounds, MOST_ROUNDS)
    (samples,) = alternate({0: runs}, rounds=rounds, label="population").values()
    seconds = {way: 1e-3 * median(taken) for way, taken in samples.items()}
    seconds["extracted"] *= scale
    return {
        "population": POPULATION,
        "chunk": CHUNK,
        "windows": windows,
        "tokens": tokens,
        "extracted_members": COMPILED,
        "rounds": rounds,
        **{
            way: {
                "run_seconds": round(seconds[way], 3),
                "compile_seconds": round(compiling[way], 3),
                "total_seconds": round(seconds[way] + compiling[way], 3),
            }
            for way in runs
        },
    }


def _evaluator(
    decoder: Decoder, supernet: ElasticDecoder, execution: Execution, data: Windows
) -> Callable[[Genotypes], None]:
    evaluate = make_evaluate(supernet, decoder.space(), execution=execution)
    params = nnx.state(supernet, nnx.Param)

    def run(genotypes: Genotypes) -> None:
        for start in range(0, len(genotypes), CHUNK):
            evaluate(params, genotypes[start : start + CHUNK], *data)

    return run


def _extracted(
    decoder: Decoder, supernet: ElasticDecoder, genotype: Genotype, data: Windows
) -> Run:
    """Extracts and compiles one member; returns its evaluation."""
    network = extract(supernet, decoder, decoder.space().decode(genotype))
    graph, params = nnx.split(network, nnx.Param)

    def loss(params: Params, inputs: Array, targets: Array) -> Float[Array, ""]:
        return cross_entropy(nnx.merge(graph, params)(inputs), targets) / NATS_PER_BIT

    return Program.of(loss, params, *data).bound(params, *data)


def _seconds(run: Callable[[Genotypes], None], genotypes: Genotypes) -> float:
    start = time.perf_counter()
    run(genotypes)
    return time.perf_counter() - start
