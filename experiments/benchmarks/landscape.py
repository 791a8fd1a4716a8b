"""A stand-in for a trained supernet: what each architecture of a small space scores."""

import numpy as np
from jaxtyping import Float, Int

from search.constraints import Bound
from search.problem import Metrics, Problem
from search.space import Choice, Depth, Genotypes, Space

Values = Float[np.ndarray, " population"]


class Landscape:
    """The quick start's space with a loss that is a formula, not a measurement.

    The loss falls with every size, each layer at its own rate, and heads help wide
    feed-forward blocks more:

        loss = 2 + 1 / (1 + 0.1 sum_l (a_l sqrt(h) + b_l sqrt(f) + 0.15 sqrt(h f)) w)

    with ``h`` heads and a feed-forward size of ``64 f`` in each layer that runs, the
    square root ``w`` of the width in units of 48, and rates ``a`` and ``b`` drawn from
    0.2..2. Every architecture adds its own uniform noise, always the same, as an
    evaluation on a fixed part of the data would.

    Attributes:
        space: The architectures.
        problem: Loss against a latency of at most 60% of the largest subnet's.
        reference: Of its hypervolume.

    Args:
        noise: Standard deviation of the noise; the losses' own is 0.07.
    """

    def __init__(self, noise: float = 0.003) -> None:
        heads = Choice("heads", (1, 2, 3), per_layer=True)
        ffn = Choice("ffn", (64, 128, 192, 256), per_layer=True)
        width = Choice("width", (48, 64, 96))
        self.space = Space((width, heads, ffn), 4, Depth((2, 3, 4)))
        rng = np.random.default_rng(7)
        self._rates = rng.uniform(0.2, 2.0, (2, 4))
        self._factors = rng.integers(1, 2**31, self.space.genes)
        self._noise = noise
        largest = float(self.cheap(self.space.largest[None])["latency_ms"][0])
        bounds = (Bound("latency_ms", 0.6 * largest),)
        self.problem = Problem(self.space, ("loss", "latency_ms"), bounds, self.cheap)
        self.reference = np.asarray([3.0, 0.65 * largest])

    def cheap(self, genotypes: Genotypes) -> Metrics:
        """Returns parameters and latency, in made-up units."""
        width, heads, ffn = self._sizes(genotypes)
        params = width * (1.0 + (heads + ffn).sum(1))
        return {"latency_ms": 0.1 + (heads > 0).sum(1) + params, "params": params}

    def loss(self, genotypes: Genotypes) -> Values:
        """Returns the loss of each architecture."""
        width, heads, ffn = self._sizes(genotypes)
        strength = self._rates[0] * np.sqrt(heads) + self._rates[1] * np.sqrt(ffn)
        strength = (strength + 0.15 * np.sqrt(heads * ffn)).sum(1) * np.sqrt(width)
        mixed = ((genotypes.astype(np.int64) + 1) * self._factors).sum(1) % 100003
        noise = np.sqrt(12) * self._noise * (mixed / 100003 - 0.5)
        return 2.0 + 1.0 / (1.0 + 0.1 * strength) + noise

    def _sizes(
        self, genotypes: Genotypes
    ) -> tuple[
        Values,
        Int[np.ndarray, "population layers"],
        Float[np.ndarray, "population layers"],
    ]:
        running = self.space.active_layers(genotypes)
        heads = np.where(running, self.space.values(genotypes, "heads"), 0)
        ffn = np.where(running, self.space.values(genotypes, "ffn"), 0) / 64
        return self.space.values(genotypes, "width") / 48, heads, ffn
