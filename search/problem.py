"""What is searched for: a space, objectives, bounds, and the metrics that are free."""

import dataclasses
import difflib
from collections.abc import Callable, Collection, Sequence

import numpy as np
from jaxtyping import Bool, Float

from search.archive import Record
from search.constraints import Bound, InfeasibleError
from search.space import Genotype, Genotypes, Space

Metrics = dict[str, Float[np.ndarray, " population"]]
"""One value for each genotype, by metric name."""

FEASIBILITY_SAMPLES = 2000
"""Members drawn before the bounds are suspected to exclude everything."""

WALK_STEPS = 100
"""Steps of the descent that is tried after that."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A constrained multi-objective problem over a space.

    Attributes:
        space: The architectures.
        objectives: Names of the metrics to minimise.
        bounds: Absolute limits on metrics.
        cheap: Computes the metrics that cost nothing, such as parameters, operations
            and predicted latency, for a batch of genotypes.

    Raises:
        ValueError: If there is no objective, one is repeated, or a bound is relative.
    """

    space: Space
    objectives: tuple[str, ...]
    bounds: tuple[Bound, ...]
    cheap: Callable[[Genotypes], Metrics]

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError("a problem needs at least one objective")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives repeat: {self.objectives}")
        if relative := [str(bound) for bound in self.bounds if bound.percent]:
            raise ValueError(
                f"bounds {relative} are percentages; resolve them with the largest "
                "subnet's values first"
            )

    def check(self, computed: Collection[str]) -> None:
        """Makes sure that every bound and objective is on a metric that exists.

        Args:
            computed: Names of all metrics, cheap and evaluated.

        Raises:
            ValueError: If one is not among them, with near matches.
        """
        wanted = [(name, f"objective {name!r}") for name in self.objectives]
        wanted += [(b.metric, f"constraint {str(b)!r}") for b in self.bounds]
        for name, what in wanted:
            if name not in computed:
                near = difflib.get_close_matches(name, computed)
                hint = f"did you mean {' or '.join(near)}? " if near else ""
                raise ValueError(
                    f"{what}: nothing computes {name!r}; {hint}"
                    f"There are {', '.join(sorted(computed)) or 'no metrics'}"
                )

    def violations(self, metrics: Metrics) -> Float[np.ndarray, " population"]:
        """Returns the sum of relative excesses over the bounds on the given metrics.

        Bounds on other metrics are left out, so that the cheap ones can be tested
        alone.

        Raises:
            ValueError: If there are no metrics.
        """
        if not metrics:
            raise ValueError("there are no metrics to compare with the bounds")
        total = np.zeros(len(next(iter(metrics.values()))))
        for bound in self.bounds:
            if bound.metric in metrics:
                total = total + bound.excess(metrics[bound.metric])
        return total

    def cheap_violations(
        self, genotypes: Genotypes
    ) -> Float[np.ndarray, " population"]:
        """Returns the violations that can be known without an evaluation."""
        if not len(genotypes):
            return np.zeros(0)
        metrics = self.cheap(genotypes)
        return self.violations(metrics) if metrics else np.zeros(len(genotypes))

    def feasible(self, genotypes: Genotypes) -> Bool[np.ndarray, " population"]:
        """Returns which genotypes satisfy the bounds on cheap metrics."""
        return self.cheap_violations(genotypes) <= 0

    def completed(self, records: Sequence[Record]) -> tuple[Record, ...]:
        """Returns records with the cheap metrics that they were archived without.

        Those that a search asks for may be more than an earlier search of the same
        space knew. What is archived stays as it is.
        """
        if not records:
            return ()
        genotypes = np.asarray([record.genotype for record in records], np.int32)
        cheap = self.cheap(genotypes)
        if all(cheap.keys() <= record.metrics.keys() for record in records):
            return tuple(records)
        return tuple(
            dataclasses.replace(
                record,
                metrics={name: float(values[row]) for name, values in cheap.items()}
                | record.metrics,
            )
            for row, record in enumerate(records)
        )

    def objectives_of(
        self, metrics: Metrics
    ) -> Float[np.ndarray, "population objectives"]:
        """Returns the objectives, in their order.

        Raises:
            ValueError: If one is not among the metrics.
        """
        if missing := [name for name in self.objectives if name not in metrics]:
            raise ValueError(f"metrics lack objectives {missing}, got {list(metrics)}")
        columns = [metrics[name] for name in self.objectives]
        return np.stack(columns, axis=1).astype(float)

    def require_feasible(self, rng: np.random.Generator) -> Genotype:
        """Returns a member that satisfies the bounds on cheap metrics.

        Tries the smallest, the largest and random members, then descends from the
        nearest of them through neighbours.

        Raises:
            InfeasibleError: If all of that finds none.
        """
        ends = np.stack([self.space.smallest, self.space.largest])
        drawn = self.space.sample(FEASIBILITY_SAMPLES, rng)
        tried = np.concatenate([ends, drawn])
        violations = self.cheap_violations(tried)
        nearest, violation = tried[violations.argmin()], violations.min()
        for _ in range(WALK_STEPS):
            if violation <= 0:
                break
            around = self.space.neighbours(nearest)
            violations = self.cheap_violations(around)
            if violations.min(initial=np.inf) >= violation:
                break
            tried = np.concatenate([tried, around])
            nearest, violation = around[violations.argmin()], violations.min()
        if violation <= 0:
            return nearest
        raise self.infeasible(tried, self.cheap(tried))

    def infeasible(self, genotypes: Genotypes, metrics: Metrics) -> InfeasibleError:
        """Returns the error to raise when none of the genotypes is feasible.

        It names the bound that excludes them all by most or, where none does alone,
        the one that the nearest genotype misses by most.

        Args:
            genotypes: All that was tried, at least one.
            metrics: Their metrics, at least one of them bounded.
        """
        bounds = [bound for bound in self.bounds if bound.metric in metrics]
        excesses = np.stack([bound.excess(metrics[bound.metric]) for bound in bounds])
        nearest = int(excesses.sum(0).argmin())
        alone = excesses.min(1)
        severity = alone if alone.max() > 0 else excesses[:, nearest]
        bound = bounds[int(severity.argmax())]
        value = float(metrics[bound.metric][nearest])
        return InfeasibleError(bound, self.space.decode(genotypes[nearest]), value)
