"""What predictors see of architectures: their genes as numbers, and columns beside."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Shaped

from search.space import Genotypes, Space

Columns = Float[np.ndarray, "population columns"]
Features = Float[np.ndarray, "population features"]


@dataclasses.dataclass(frozen=True, eq=False)
class Members:
    """Architectures as predictors get them.

    Attributes:
        space: What they are members of.
        genotypes: Their genes.
        columns: What else is known of each, such as the logarithm of its parameters or
            a zero-cost proxy; finite, in any unit. ``None`` is no column.

    Raises:
        ValueError: If there is not a row of finite columns for each genotype.
    """

    space: Space
    genotypes: Genotypes
    columns: Float[np.ndarray, "rows columns"] | None = None

    def __post_init__(self) -> None:
        if len(self.extra) != len(self.genotypes):
            raise ValueError(
                f"{len(self.extra)} rows of columns for {len(self.genotypes)} genotypes"
            )
        if not np.isfinite(self.extra).all():
            raise ValueError("a column that predictors see must be finite")

    def __len__(self) -> int:
        return len(self.genotypes)

    @property
    def extra(self) -> Columns:
        """The columns, an empty matrix where there are none."""
        if self.columns is None:
            return np.zeros((len(self.genotypes), 0))
        return self.columns

    def take(self, rows: Shaped[np.ndarray, " rows"]) -> "Members":
        """Returns some of the members, by index or by mask."""
        columns = None if self.columns is None else self.columns[rows]
        return Members(self.space, self.genotypes[rows], columns)

    def categories(self) -> Int[np.ndarray, "population genes"]:
        """Returns each gene's value, one past the last where its layer does not run."""
        active = self.space.active_genes(self.genotypes)
        return np.where(active, self.genotypes, self.space.cardinalities)

    def one_hot(self) -> Features:
        """Returns an indicator of each value of each gene, and of its idling.

        A gene that can idle has a last indicator for it, so that equal rows are equal
        architectures; other genes do not have one.
        """
        sizes = self.space.cardinalities + self._can_idle()
        starts = np.cumsum(sizes) - sizes
        encoded = np.zeros((len(self), int(sizes.sum())))
        rows = np.arange(len(self))[:, None]
        encoded[rows, starts + self.categories()] = 1.0
        return encoded

    def ordinal(self) -> Features:
        """Returns each gene in 0..1, first to last value, then whether each layer runs.

        Genes of layers that do not run are 0. Where depth is fixed there are no flags.
        """
        steps = np.maximum(self.space.cardinalities - 1, 1)
        scaled = self.space.canonical(self.genotypes) / steps
        if self.space.depth is None:
            return scaled
        running = self.space.active_layers(self.genotypes).astype(float)
        return np.concatenate([scaled, running], axis=1)

    def _can_idle(self) -> Int[np.ndarray, " genes"]:
        """Returns 1 for genes of layers that some member does not run, 0 for others."""
        owner = self.space.layer_of_gene
        if self.space.depth is None:
            return np.zeros_like(owner)
        layers = self.space.layers
        always = np.full(layers, min(self.space.depth.values) == layers)
        if not self.space.free:
            always = self.space.depth.kept(layers).all(axis=0)
        idles = np.append(~always, False)
        # The index -1 of genes that are not of a layer is the last entry.
        return idles[owner].astype(np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Standard:
    """A shift and a scale that give every column a mean of 0 and a deviation of 1.

    Attributes:
        mean: Of each column.
        deviation: Of each column, 1 where it does not vary.
    """

    mean: Shaped[np.ndarray, "..."]
    deviation: Shaped[np.ndarray, "..."]

    @classmethod
    def of(cls, values: Float[np.ndarray, "rows ..."]) -> "Standard":
        """Learns from rows; a single vector is one column."""
        mean, deviation = values.mean(0), values.std(0)
        # Rounding alone gives equal values a deviation of some last digits.
        varies = deviation > 1e-12 * np.maximum(np.abs(mean), 1e-30)
        return cls(np.asarray(mean), np.where(varies, deviation, 1.0))

    def apply(self, values: Float[np.ndarray, "rows ..."]) -> np.ndarray:
        """Returns the values shifted and scaled."""
        return (values - self.mean) / self.deviation

    def undo(self, values: Float[np.ndarray, "rows ..."]) -> np.ndarray:
        """Returns the values in their unit again."""
        return values * self.deviation + self.mean
