"""Where the genes lie, which of them matter, and how many values each has."""

import dataclasses
import functools
import math

import numpy as np
from jaxtyping import Bool, Int, Shaped

from search.space.choice import Choice, Depth

Genotypes = Int[np.ndarray, "population genes"]
Genotype = Int[np.ndarray, " genes"]
DepthGenes = Int[np.ndarray, " depth_genes"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The genes of a space: all that can be said without its rules.

    Attributes:
        choices: The elastic dimensions.
        layers: Number of stored layers.
        depth: How many of them run; ``None`` runs all.

    Raises:
        ValueError: If there is nothing to choose, names repeat, or depth exceeds the
            layers.
    """

    choices: tuple[Choice, ...]
    layers: int = 1
    depth: Depth | None = None

    def __post_init__(self) -> None:
        names = [choice.name for choice in self.choices]
        if not names and self.depth is None:
            raise ValueError("a space needs at least one choice, or a depth")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"choices share a name: {sorted(repeated)}")
        if reserved := {"depth", "layers"} & set(names):
            raise ValueError(f"{sorted(reserved)} is reserved; use Space(depth=...)")
        if self.layers < 1:
            raise ValueError(f"a space needs at least one layer, got {self.layers}")
        if self.depth and max(self.depth.chain or self.depth.values) > self.layers:
            raise ValueError(
                f"the largest depth is {self.depth.values[-1]} but there are "
                f"{self.layers} layers"
            )

    @property
    def free(self) -> bool:
        """Whether any subset of the layers may run, one gene for each layer."""
        return self.depth is not None and self.depth.rule == "free"

    @functools.cached_property
    def depth_genes(self) -> int:
        """Number of genes that decide depth."""
        if self.depth is None:
            return 0
        return self.layers if self.free else 1

    @functools.cached_property
    def cardinalities(self) -> Genotype:
        """Number of values of each gene."""
        sizes: list[int] = []
        if self.depth is not None:
            sizes += [2] * self.layers if self.free else [len(self.depth.values)]
        for choice in self.choices:
            sizes += [len(choice.values)] * (self.layers if choice.per_layer else 1)
        return constant(np.asarray(sizes, np.int32))

    @property
    def genes(self) -> int:
        """Length of a genotype."""
        return len(self.cardinalities)

    @functools.cached_property
    def slices(self) -> dict[str, slice]:
        """Where each choice's genes lie, by name."""
        found: dict[str, slice] = {}
        start = self.depth_genes
        for choice in self.choices:
            stop = start + (self.layers if choice.per_layer else 1)
            found[choice.name] = slice(start, stop)
            start = stop
        return found

    @functools.cached_property
    def layer_of_gene(self) -> Genotype:
        """The layer each gene belongs to, or -1 for depth and global genes."""
        owner = np.full(self.genes, -1, np.int32)
        for choice in self.choices:
            if choice.per_layer:
                owner[self.slices[choice.name]] = np.arange(self.layers)
        return constant(owner)

    def active_layers(
        self, genotypes: Genotypes
    ) -> Bool[np.ndarray, "population layers"]:
        """Returns which layers run, for each genotype."""
        if self.depth is None:
            return np.ones((len(genotypes), self.layers), bool)
        if self.free:
            return genotypes[:, : self.layers].astype(bool)
        return self.depth.kept(self.layers)[genotypes[:, 0]]

    def active_genes(
        self, genotypes: Genotypes
    ) -> Bool[np.ndarray, "population genes"]:
        """Returns which genes matter, for each genotype."""
        active = self.active_layers(genotypes)
        owner = self.layer_of_gene
        return np.where(owner[None, :] < 0, True, active[:, np.maximum(owner, 0)])

    def canonical(self, genotypes: Genotypes) -> Genotypes:
        """Returns the genotypes with the genes of layers that do not run at zero."""
        return np.where(self.active_genes(genotypes), genotypes, 0).astype(np.int32)

    def values(
        self, genotypes: Genotypes, name: str
    ) -> Shaped[np.ndarray, "population ..."]:
        """Returns a choice's values, shape ``(population,)`` or ``(population, L)``.

        Per-layer values are given for every stored layer; combine them with
        :meth:`active_layers`.
        """
        choice = self.choice(name)
        taken = np.asarray(choice.values)[genotypes[:, self.slices[name]]]
        return taken if choice.per_layer else taken[:, 0]

    def choice(self, name: str) -> Choice:
        """Returns the choice of that name, or raises ``KeyError``."""
        for choice in self.choices:
            if choice.name == name:
                return choice
        raise KeyError(f"no choice {name!r}; there are {list(self.slices)}")

    @functools.cached_property
    def members_by_depth(self) -> tuple[int, ...]:
        """Number of legal canonical genotypes of each depth."""
        shared = math.prod(len(c.values) for c in self.choices if not c.per_layer)
        layer = math.prod(len(c.values) for c in self.choices if c.per_layer)
        if self.depth is None:
            return (shared * layer**self.layers,)
        return tuple(
            shared * layer**count * (math.comb(self.layers, count) if self.free else 1)
            for count in self.depth.values
        )

    @functools.cached_property
    def smallest(self) -> Genotype:
        """The member with every choice at its first value."""
        return self._member(np.zeros(self.genes, np.int32), 0)

    @functools.cached_property
    def largest(self) -> Genotype:
        """The member with every choice at its last value."""
        return self._member(self.cardinalities - 1, -1)

    def _member(self, genotype: Genotype, depth: int) -> Genotype:
        """Runs the first layers under the ``free`` rule, then makes it canonical."""
        genotype = genotype.astype(np.int32)
        if self.depth is not None and self.free:
            genotype[: self.layers] = np.arange(self.layers) < self.depth.values[depth]
        return constant(self.canonical(genotype[None])[0])

    def legal(self, genotypes: Genotypes) -> Bool[np.ndarray, " population"]:
        """Returns which genotypes have legal indices and an allowed depth."""
        in_range = np.all((genotypes >= 0) & (genotypes < self.cardinalities), axis=1)
        if self.depth is None or not self.free:
            return in_range
        running = genotypes[:, : self.layers].sum(1)
        return in_range & np.isin(running, self.depth.values)

    def require_legal(self, genotype: Genotype) -> None:
        """Raises ``ValueError`` if a gene or the depth is not legal, saying which."""
        if genotype.shape != (self.genes,):
            raise ValueError(
                f"a genotype of this space has {self.genes} genes, "
                f"got shape {genotype.shape}"
            )
        wrong = (genotype < 0) | (genotype >= self.cardinalities)
        if wrong.any():
            gene = int(np.argmax(wrong))
            raise ValueError(
                f"gene {gene} is {genotype[gene]}, "
                f"legal are 0..{self.cardinalities[gene] - 1}"
            )
        if self.depth is not None and not self.legal(genotype[None])[0]:
            raise ValueError(
                f"{genotype[: self.layers].sum()} layers run, "
                f"allowed are {self.depth.values}"
            )


def constant(array: Genotype) -> Genotype:
    """Makes a cached array read-only, since every reader shares it."""
    array.flags.writeable = False
    return array
