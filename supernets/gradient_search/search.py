"""A whole search by gradient: steps, decoded subnets, and the best of them."""

import sys
from collections.abc import (
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from search.space import Genotype, Genotypes
from supernets.gradient_search.decoding import Improbability, decode, relative_excess
from supernets.gradient_search.refinement import pairs_of_steps
from supernets.gradient_search.specs import TwoStage
from supernets.gradient_search.state import Batches, SearchMetrics, SearchState
from supernets.gradient_search.step import CompiledSearchStep
from supernets.weights import Params

Evaluate = Callable[[Params, Genotypes], Float[np.ndarray, " population"]]
"""Loss of subnets with given weights, on data that the search does not learn from."""

Limits = Mapping[str, float]
"""Largest legal values of what is bounded, by name."""


PAIRS = 6
"""Pairs of steps that are evaluated around each best subnet."""


class Candidate(NamedTuple):
    """A subnet that was decoded and evaluated.

    Attributes:
        genotype: Which.
        loss: Its own, in nats.
    """

    genotype: tuple[int, ...]
    loss: float


class Found(NamedTuple):
    """What a search came to.

    Attributes:
        best: The candidate of the lowest loss within the limits.
        candidates: Every subnet that was evaluated, each once, in order.
        state: After the last step.
    """

    best: Candidate
    candidates: tuple[Candidate, ...]
    state: SearchState


OnStep = Callable[[int, SearchState, SearchMetrics], None]
"""Told the number of a step, the state after it, and what it tells."""


def search(
    step: CompiledSearchStep,
    state: SearchState,
    batches: Callable[[int], Batches],
    limits: Limits,
    evaluate: Evaluate,
    *,
    key: Array,
    start: int = 0,
    known: Iterable[Candidate] = (),
    on_step: OnStep | None = None,
) -> Found:
    """Runs the steps of a search; every few, evaluates the subnet it then stands for.

    The last is not always the best: so all of them are remembered. Where weights move,
    only the last is evaluated, with the last weights.

    Args:
        step: What each does.
        state: Before the first.
        batches: Of the step of a number.
        limits: Of what is bounded.
        evaluate: Of the subnets that are decoded.
        key: Of all randomness.
        start: Steps that were done before the state was saved.
        known: What was evaluated then, or in a search of the same weights.
        on_step: Told of each step.

    Raises:
        ValueError: If no subnet within the limits was found.
    """
    going = rounds(
        step,
        state,
        batches,
        limits,
        evaluate,
        key=key,
        start=start,
        known=known,
        on_step=on_step,
    )
    while True:
        try:
            next(going)
        except StopIteration as end:
            return end.value


def rounds(
    step: CompiledSearchStep,
    state: SearchState,
    batches: Callable[[int], Batches],
    limits: Limits,
    evaluate: Evaluate,
    *,
    key: Array,
    start: int = 0,
    known: Iterable[Candidate] = (),
    most: int | None = None,
    on_step: OnStep | None = None,
) -> Generator[int, None, Found]:
    """Does what `search` does, yielding whenever it has looked at subnets.

    Args:
        step: What each does.
        state: Before the first.
        batches: Of the step of a number.
        limits: Of what is bounded.
        evaluate: Of the subnets that are decoded.
        key: Of all randomness.
        start: Steps that were done before the state was saved.
        known: What was evaluated then, or in a search of the same weights.
        most: Subnets that are looked at, at most, with those that are known.
        on_step: Told of each step.

    Yields:
        How many steps were done.

    Raises:
        ValueError: If no subnet within the limits was found.
    """
    spec = step.spec
    tried = _Tried(step, limits, evaluate, known, most)
    for number in range(start, spec.steps):
        state, metrics = step(state, batches(number), limits, number, key=key)
        last = number == spec.steps - 1
        due = (number + 1) % spec.decode_every == 0
        looks = last or (due and isinstance(spec.regime, TwoStage))
        if looks:
            tried.decode(state, number)
        if on_step is not None:
            on_step(number, state, metrics)
        if looks:
            yield number + 1
    if start >= spec.steps:
        tried.decode(state, spec.steps - 1)
    for _ in tried.refine(state):
        yield spec.steps
    return Found(tried.best(), tuple(tried.candidates.values()), state)


def sweep(
    step: CompiledSearchStep,
    params: Params,
    batches: Callable[[int], Batches],
    bounds: Sequence[Limits],
    evaluate: Evaluate,
    *,
    key: Array,
) -> list[Found]:
    """Searches once for each set of limits: their best subnets are a Pareto front.

    One program serves all. Weights that stand still make losses comparable: then what
    one search evaluated counts for all of them.

    Args:
        step: What each step does.
        params: Weights that each search starts from.
        batches: Of the step of a number, the same in each search.
        bounds: Limits of each search.
        evaluate: Of the subnets that are decoded.
        key: Of all randomness.

    Raises:
        ValueError: If no subnet within some of the limits was found.
    """
    shared = isinstance(step.spec.regime, TwoStage)
    known: tuple[Candidate, ...] = ()
    every: list[Found] = []
    for limits, own in zip(bounds, jax.random.split(key, len(bounds)), strict=True):
        first, steps = jax.random.split(own)
        state = step.initial_state(params, key=first)
        found = search(step, state, batches, limits, evaluate, key=steps, known=known)
        known = found.candidates if shared else ()
        every.append(found)
    if not shared:
        return every
    return [
        found._replace(best=_Tried(step, limits, evaluate, known).best())
        for found, limits in zip(every, bounds, strict=True)
    ]


class _Tried:
    """The subnets that were decoded."""

    def __init__(
        self,
        step: CompiledSearchStep,
        limits: Limits,
        evaluate: Evaluate,
        known: Iterable[Candidate],
        most: int | None = None,
    ) -> None:
        self.step, self.limits, self.evaluate = step, limits, evaluate
        self.candidates = {candidate.genotype: candidate for candidate in known}
        self.most = sys.maxsize if most is None else most

    def decode(self, state: SearchState, number: int) -> None:
        """Evaluates the subnet that the state of a step stands for."""
        rows = self.step.mean_rows(state, number)
        genotype = decode(self.step.space, rows, self.excess)
        if genotype is None:
            raise ValueError(f"found no subnet within {dict(self.limits)}")
        self._add(state, genotype[None], self.most)

    def refine(self, state: SearchState) -> Iterator[None]:
        """Moves on from the best by steps and pairs of steps, as long as it helps.

        Yields after each such move.
        """
        end = min(len(self.candidates) + self.step.spec.refine, self.most)
        base = None
        while base != self.best() and len(self.candidates) < end:
            base = self.best()
            genotype = np.asarray(base.genotype, np.int32)
            steps = self._by_probability(state, genotype)
            steps, losses = self._evaluated(state, steps, end)
            pairs = pairs_of_steps(self.step.space, genotype, steps, losses - base.loss)
            within = pairs[self.excess(pairs) == 0]
            self._evaluated(state, within[:PAIRS], end)
            yield

    def _by_probability(self, state: SearchState, genotype: Genotype) -> Genotypes:
        """Returns the members one step away, the most probable first."""
        steps = self.step.space.neighbours(genotype)
        rows = self.step.mean_rows(state, self.step.spec.steps - 1)
        behind = Improbability(self.step.space, rows)(steps)
        return steps[np.argsort(behind, kind="stable")]

    def _evaluated(
        self, state: SearchState, genotypes: Genotypes, end: int
    ) -> tuple[Int[np.ndarray, "kept genes"], Float[np.ndarray, " kept"]]:
        """Returns the subnets that the budget allows to evaluate, with their losses."""
        self._add(state, genotypes, end)
        names = [tuple(row) for row in genotypes.tolist()]
        known = np.asarray([name in self.candidates for name in names], bool)
        losses = [
            self.candidates[name].loss for name in names if name in self.candidates
        ]
        return genotypes[known], np.asarray(losses, float)

    def best(self) -> Candidate:
        """Returns the candidate of the lowest loss within the limits."""
        candidates = list(self.candidates.values())
        genotypes = np.asarray([c.genotype for c in candidates], np.int32)
        within = self.excess(genotypes) == 0
        losses = np.asarray([c.loss for c in candidates])
        return candidates[int(np.argmin(np.where(within, losses, np.inf)))]

    def excess(self, genotypes: Genotypes) -> Float[np.ndarray, " population"]:
        """Returns by how much subnets break limits, relative to them, summed."""
        return relative_excess(self.step.prices, self.limits, genotypes)

    def _add(self, state: SearchState, genotypes: Genotypes, end: int) -> None:
        """Evaluates those that were not yet, together, until there are so many."""
        names = dict.fromkeys(tuple(row) for row in genotypes.tolist())
        new = [name for name in names if name not in self.candidates]
        new = new[: max(0, end - len(self.candidates))]
        if new:
            losses = self.evaluate(state.params, np.asarray(new, np.int32))
            for name, loss in zip(new, losses.tolist(), strict=True):
                self.candidates[name] = Candidate(name, loss)
