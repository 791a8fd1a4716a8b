"""Small problems with a known answer."""

from collections.abc import Iterator

import numpy as np

from search.constraints import Bound
from search.pareto import non_dominated
from search.problem import Metrics, Problem
from search.space import Choice, Depth, Genotypes, Space


class Toy:
    """Error falls with every size and cost rises, each layer at its own rate."""

    def __init__(
        self,
        layers: int = 4,
        limit: float = 40.0,
        objectives: tuple[str, ...] = ("error", "latency_ms"),
    ) -> None:
        ffn = Choice("ffn", (1, 2, 3), per_layer=True)
        depths = tuple(range(2, layers + 1))
        self.space = Space((Choice("width", (1, 2, 3)), ffn), layers, Depth(depths))
        self.gains = np.random.default_rng(layers).uniform(0.2, 2.0, layers)
        bounds = (Bound("latency_ms", limit),)
        self.problem = Problem(self.space, objectives, bounds, self.cheap)
        self.evaluated: list[tuple[int, ...]] = []

    def _active_ffn(self, genotypes: Genotypes) -> np.ndarray:
        ffn = self.space.values(genotypes, "ffn")
        return np.where(self.space.active_layers(genotypes), ffn, 0)

    def cheap(self, genotypes: Genotypes) -> Metrics:
        width = self.space.values(genotypes, "width")
        return {"latency_ms": width * (1.0 + self._active_ffn(genotypes).sum(1))}

    def error(self, genotypes: Genotypes) -> np.ndarray:
        width = self.space.values(genotypes, "width")
        # Not a matrix product: its last digit may depend on how many rows there are.
        strength = (np.sqrt(self._active_ffn(genotypes)) * self.gains[None]).sum(1)
        return 1.0 / (1.0 + strength * np.sqrt(width))

    def evaluate(self, genotypes: Genotypes) -> Iterator[tuple[int, Metrics]]:
        for start in range(0, len(genotypes), 3):
            rows = genotypes[start : start + 3]
            self.evaluated += [tuple(row.tolist()) for row in rows]
            yield start, {"error": self.error(rows)}

    def outcome(self, genotypes: Genotypes) -> tuple[np.ndarray, np.ndarray]:
        """What an algorithm is told: objectives and violations."""
        metrics = self.cheap(genotypes) | {"error": self.error(genotypes)}
        violations = self.problem.violations(metrics)
        objectives = self.problem.objectives_of(metrics)
        objectives[violations > 0] = np.inf
        return objectives, violations

    def front(self) -> set[tuple[int, ...]]:
        """The optimum, by trying everything."""
        members = self.space.enumerate()
        objectives, violations = self.outcome(members)
        members, objectives = members[violations <= 0], objectives[violations <= 0]
        return {tuple(row.tolist()) for row in members[non_dominated(objectives)]}
