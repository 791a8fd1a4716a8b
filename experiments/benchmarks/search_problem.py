"""A search problem whose every member is known: a stand-in for a trained supernet.

The space, costs and latency terms are those of the quick start. Latency is its model
with weights as fitted on a CPU. The loss is made up, in the shape that the archive of
a run of the quick start has:

- the logarithms of width, heads and feed-forward sizes lower it, each layer by its own
  amount, later layers by less;
- a layer gains less from its feed-forward network where that is large for the width,
  and the network less where neighbouring layers differ in size;
- a fixed deviation of every member stands for what shared weights and few examples add.

Sums of one term for each gene leave 0.02 bits per byte unexplained, there as here.
It is no prediction of any network's loss.
"""

import functools

import numpy as np
from jaxtyping import Float

from experiments.quickstart import experiment
from search.constraints import Bound
from search.pareto import hypervolume, non_dominated
from search.problem import Metrics, Problem
from search.space import Genotypes

LATENCY_WEIGHTS = (0.39, 0.0, 0.138, 7.7e-4, 0.108, 4.1e-6, 0.0, 0.0)
"""Milliseconds for each latency term of the model."""

LIMIT = 0.6
"""Share of the largest subnet's latency that is allowed."""

HIGHEST_LOSS = 3.3
"""Bits per byte of the smallest subnet, without its deviation."""

DEVIATION = 0.014
"""Standard deviation of the fixed deviations, in bits per byte."""

SEED = 0


class TabularProblem:
    """The problem, its table of losses and its true front."""

    def __init__(self) -> None:
        self.space = experiment.model.space()
        largest = self.cheap(self.space.largest[None])["latency_ms"]
        self.limit = LIMIT * float(largest[0])
        bounds = (Bound("latency_ms", self.limit),)
        self.problem = Problem(self.space, ("loss", "latency_ms"), bounds, self.cheap)

    def cheap(self, genotypes: Genotypes) -> Metrics:
        """Returns the latency in milliseconds."""
        terms = experiment.model.latency_terms(genotypes)
        # Not a matrix product: its last digit may depend on how many rows there are.
        return {"latency_ms": (terms * np.asarray(LATENCY_WEIGHTS)).sum(1)}

    def evaluate(self, genotypes: Genotypes) -> list[tuple[int, Metrics]]:
        """Looks the losses up, in bits per byte."""
        return [(0, {"loss": self._table[tuple(genotypes.T)]})]

    @functools.cached_property
    def members(self) -> Genotypes:
        """All of them."""
        return self.space.enumerate()

    @functools.cached_property
    def _table(self) -> Float[np.ndarray, "..."]:
        """The loss of every member, by its genes."""
        table = np.full(tuple(self.space.cardinalities), np.nan)
        noise = np.random.default_rng(SEED).normal(0.0, DEVIATION, len(self.members))
        table[tuple(self.members.T)] = _smooth_loss(self.members) + noise
        return table

    @functools.cached_property
    def objectives(self) -> Float[np.ndarray, "members objectives"]:
        """Loss and latency of every member within the limit."""
        metrics = self.cheap(self.members) | self.evaluate(self.members)[0][1]
        within = self.problem.violations(metrics) <= 0
        return self.problem.objectives_of(metrics)[within]

    @functools.cached_property
    def front(self) -> Float[np.ndarray, "front objectives"]:
        """Loss and latency of the members that no other dominates."""
        return self.objectives[non_dominated(self.objectives)]

    @functools.cached_property
    def reference(self) -> Float[np.ndarray, " objectives"]:
        """What a hypervolume is measured from: the highest loss, at the limit."""
        return np.asarray([HIGHEST_LOSS, self.limit])

    def share(self, objectives: Float[np.ndarray, "points objectives"]) -> float:
        """Returns the hypervolume of points as a share of the true front's."""
        return hypervolume(objectives, self.reference) / self._volume

    @functools.cached_property
    def _volume(self) -> float:
        return hypervolume(self.front, self.reference)


def _smooth_loss(genotypes: Genotypes) -> Float[np.ndarray, " population"]:
    """Returns the loss without the deviation of each member."""
    space = experiment.model.space()
    active = space.active_layers(genotypes)
    width = space.values(genotypes, "width")
    heads = np.log2(1 + space.values(genotypes, "heads"))
    ffn = space.values(genotypes, "ffn")
    rng = np.random.default_rng(SEED)
    order = np.arange(space.layers)
    of_heads, of_ffn = rng.uniform(0.5, 1.5, (2, space.layers)) * 0.92**order
    crowded = 1 / (1 + (ffn / width[:, None] / 4) ** 2)
    each = 0.022 * of_heads * heads + 0.03 * of_ffn * np.log2(ffn / 32) * crowded
    both = active[:, 1:] & active[:, :-1]
    jumps = np.where(both, np.abs(np.diff(np.log2(ffn), axis=1)), 0.0).sum(1)
    gains = np.where(active, each, 0.0).sum(1) + 0.06 * np.log2(width / 48)
    loss = 0.006 * jumps - gains
    return HIGHEST_LOSS + loss - loss.max()
