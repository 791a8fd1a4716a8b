"""Spaces with a cost that any of them has, and moments to draw at."""

import numpy as np

from search.space import Choice, Depth, Rule, Space
from supernets.policies.policy import Moment, Subnets

WIDTH = Choice("width", (32, 48, 64))
FFN = Choice("ffn", (64, 96, 128), per_layer=True)
RULE = Rule(
    "the first layer is no wider than the last",
    lambda architecture: architecture["ffn"][0] <= architecture["ffn"][-1],
)

SPACES = {
    "flat": Space((WIDTH, FFN), 4),
    "prefix": Space((WIDTH, FFN), 4, Depth((2, 3, 4))),
    "spaced": Space((WIDTH, FFN), 4, Depth((2, 3, 4), "spaced")),
    "free": Space((WIDTH, FFN), 4, Depth((2, 3, 4), "free")),
    "ruled": Space((WIDTH, FFN), 4, Depth((2, 3, 4)), (RULE,)),
}


def cost(space: Space):
    """Grows with every gene, and with layers as they run."""

    def price(genotypes):
        genes = np.where(space.active_genes(genotypes), genotypes + 1, 0)
        layers = space.active_layers(genotypes).sum(1)
        return (layers * (1.0 + genes[:, space.depth_genes :].sum(1))).astype(float)

    return price


def priced(space: Space) -> Subnets:
    """What a policy draws from."""
    return Subnets(space, cost(space))


def moments(steps: int, *, seed: int = 0, phase: int = 0) -> list[Moment]:
    """Every step of a phase."""
    return [Moment(seed, step, steps, phase) for step in range(steps)]
