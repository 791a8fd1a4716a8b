"""Mix'n'Match: the mixtures of granularities that need no search.

References:
    Devvrit et al., "MatFormer: Nested Transformer for Elastic Inference", 2023,
    https://arxiv.org/abs/2310.07707 (Mix'n'Match: sizes that do not fall with depth
    and change as gradually as they can).
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int

from search.algorithm import Objectives, State, Violations, unknown
from search.population import at_least_one, begin, keep_front
from search.problem import Problem
from search.space import Genotypes, Space

MAX_MIXTURES = 100_000
"""Longest list of mixtures that is written down."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixAndMatch:
    """Asks for the least-jump mixtures of MatFormer, which are the same for any seed.

    From one granularity to the next, layers grow one at a time, the last ones first:
    sizes do not fall with depth, and neighbours differ by one granularity at most.
    The paper mixes the feed-forward size; where a space has other sizes for each
    layer, they grow along with it. Every depth and every value that all layers share
    has its own such line.

    Mixtures are ordered by cost: the first of the objectives, then the bounded
    metrics, that is known without an evaluation, or else the sum of the genes. They
    are asked from coarse to fine, so that a search stopped early has seen all costs.

    Raises:
        ValueError: If the batch is not positive.
    """

    batch: int = 32
    """Genotypes asked at once."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns the next feasible mixtures; none when all were told.

        Raises:
            ValueError: If there are too many mixtures to list.
        """
        listed = mixtures(problem.space)
        listed = listed[np.argsort(_costs(problem, listed), kind="stable")]
        left = unknown(problem, state.told, listed[_coarse_to_fine(len(listed))])
        return at_least_one(problem, state, left[: self.batch])

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the state with the new genotypes in it."""
        return keep_front(problem, state, genotypes, objectives, violations)


def mixtures(space: Space) -> Int[np.ndarray, "mixtures genes"]:
    """Lists the least-jump mixtures of a space, canonical, each once.

    >>> from search.space import Choice
    >>> mixtures(Space((Choice("ffn", (64, 128, 256), per_layer=True),), 2)).tolist()
    [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2]]

    Raises:
        ValueError: If there are too many.
    """
    heads = _heads(space)
    layers = space.active_layers(heads)
    lines = [_line(space, running) for running in layers]
    if (total := sum(map(len, lines))) * _shared_settings(space) > MAX_MIXTURES:
        raise ValueError(
            f"{total * _shared_settings(space):,} mixtures, more than "
            f"{MAX_MIXTURES:,}: restrict the values that all layers share"
        )
    rows = np.concatenate(
        [head + line for head, line in zip(heads, lines, strict=True)]
    )
    for choice in space.choices:
        if not choice.per_layer:
            gene = space.slices[choice.name].start
            rows = np.repeat(rows, len(choice.values), axis=0)
            rows[:, gene] = np.arange(len(rows)) % len(choice.values)
    rows = np.unique(space.canonical(rows), axis=0)
    return rows[space.valid(rows)]


def _heads(space: Space) -> Genotypes:
    """Returns a genotype for each depth; a free one runs the first layers."""
    if space.depth is None:
        return np.zeros((1, space.genes), np.int32)
    heads = np.zeros((len(space.depth.values), space.genes), np.int32)
    if not space.free:
        heads[:, 0] = np.arange(len(heads))
        return heads
    counts = np.asarray(space.depth.values)
    heads[:, : space.layers] = np.arange(space.layers) < counts[:, None]
    return heads


def _line(space: Space, running: np.ndarray) -> Genotypes:
    """Returns the genes of layers, from all at the smallest size to all at the largest.

    Args:
        space: Its choices for each layer grow together.
        running: Which layers run.
    """
    count = int(running.sum())
    owners = space.layer_of_gene
    # A choice of k values takes (k - 1) x layers steps, each of one layer.
    steps = np.where(owners >= 0, (space.cardinalities - 1) * count, 0)
    longest = int(steps.max())
    taken = np.arange(longest + 1)[:, None] * steps[None]
    # Choices with fewer values take theirs at the nearest place, evenly.
    taken = (2 * taken + longest) // max(2 * longest, 1)
    depth = (np.cumsum(running) - 1)[np.maximum(owners, 0)]
    sizes = (taken + depth[None]) // count
    matters = (owners >= 0) & running[np.maximum(owners, 0)]
    return np.where(matters[None], sizes, 0).astype(np.int32)


def _shared_settings(space: Space) -> int:
    return math.prod(len(c.values) for c in space.choices if not c.per_layer)


def _costs(problem: Problem, genotypes: Genotypes) -> Float[np.ndarray, " mixtures"]:
    """Returns what the mixtures are ordered by."""
    metrics = problem.cheap(genotypes)
    for name in (*problem.objectives, *(bound.metric for bound in problem.bounds)):
        if name in metrics:
            return metrics[name].astype(float)
    return genotypes.sum(1).astype(float)


def _coarse_to_fine(count: int) -> Int[np.ndarray, " count"]:
    """Returns the places of a list in an order that spreads out (van der Corput 1935).

    >>> _coarse_to_fine(6).tolist()
    [0, 4, 2, 1, 5, 3]
    """
    bits = max(count - 1, 1).bit_length()
    places = np.arange(2**bits)
    reversed_bits = sum((places >> bit & 1) << (bits - 1 - bit) for bit in range(bits))
    order = np.asarray(reversed_bits)
    return order[order < count]
