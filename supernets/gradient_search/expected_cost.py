"""What a random subnet costs on average, as a differentiable function.

A cost is any function of genotypes: parameters, a fitted latency. Genes are drawn
independently. So where a cost is a sum of functions of few genes each, as of ``width``
times ``ffn`` over the layers, its mean is a sum of small products. `expected_cost`
finds such a sum by evaluating the cost itself, as what sets of genes add to what their
subsets do (the anchored decomposition, Kuo 2010; the anchor is the largest subnet), and
checks it. A cost that is none is averaged over draws.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from search.space import Genotypes, Space

Price = Callable[[Genotypes], Float[np.ndarray, " population"]]
"""What subnets cost. It is asked about canonical genotypes, and under the ``free`` rule
about those of any number of layers."""

MOST_GENES = 4
"""Most genes that one part of an exact sum may depend on."""

MOST_CELLS = 1 << 18
"""Most subnets that are priced to find one."""

CHECKS = 256
"""Random subnets that it must price right."""

TOLERANCE = 1e-6
"""What it may miss, relative to the largest cost; float32 does no better."""

CHUNK = 1 << 13
"""Subnets that are priced at a time."""


@runtime_checkable
class ExpectedCost(Protocol):
    """The mean cost of a subnet whose genes are drawn independently."""

    def __call__(
        self, rows: Float[Array, "genes choices"], *, key: Array
    ) -> Float[Array, ""]:
        """Returns the mean; its gradient is that of the mean, or an estimate.

        Args:
            rows: Probability of each choice; see `decisions.gene_rows`.
            key: Of draws, if it is estimated.
        """
        ...


def expected_cost(space: Space, price: Price, *, samples: int = 16) -> ExpectedCost:
    """Returns the mean of a cost: exact if it is a sum of parts of few genes.

    Args:
        space: The search space.
        price: The cost.
        samples: Draws for an estimate.

    Raises:
        ValueError: If the cost is not a finite number for each subnet, or the number of
            draws is not positive.
    """
    if samples < 1:
        raise ValueError(f"a mean needs at least one draw, got samples={samples}")
    return _factorised(space, price) or Sampled(space, price, samples)


@dataclasses.dataclass(frozen=True, eq=False)
class Factorised:
    """A cost as a constant and, for sets of genes, a table over their choices.

    Attributes:
        constant: What all subnets cost.
        genes: Of each set, grouped by how many they are.
        tables: Of each set, over the choices of its genes, in the same groups.
    """

    constant: float
    genes: tuple[Int[np.ndarray, "_ _"], ...]
    tables: tuple[Float[np.ndarray, "_ ..."], ...]

    def __call__(
        self,
        rows: Float[Array, "genes choices"],
        *,
        key: Array,  # noqa: ARG002 - costs are called alike
    ) -> Float[Array, ""]:
        """Returns the mean: genes are independent, so means of products multiply."""
        total = jnp.asarray(self.constant, rows.dtype)
        for genes, tables in zip(self.genes, self.tables, strict=True):
            mean = jnp.asarray(tables, rows.dtype)
            for gene in reversed(genes.T):
                mean = _einsum("s...c,sc->s...", mean, rows[gene])
            total += jnp.sum(mean)
        return total

    def exact(self, genotypes: Genotypes) -> Float[np.ndarray, " population"]:
        """Returns the cost of subnets, in float64."""
        total = np.full(len(genotypes), self.constant)
        for genes, tables in zip(self.genes, self.tables, strict=True):
            picked = np.moveaxis(genotypes[:, genes], -1, 0)
            total += tables[np.arange(len(genes)), *picked].sum(-1)
        return total


# Some devices round the factors of a product to bfloat16 unless told otherwise.
def _einsum(subscripts: str, *operands: Array) -> Array:
    return jnp.einsum(subscripts, *operands, precision="highest")


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """A cost of any kind, averaged over draws on the host.

    The mean is linear in the probabilities of each gene, and its slope by one of them
    is the mean cost of subnets with that choice. Both are estimated from the same draws
    (local expectation gradients, Titsias 2015, Eq. 7), and are exact for probabilities
    of 0 and 1.

    Attributes:
        space: The search space.
        price: The cost.
        samples: Draws.
    """

    space: Space
    price: Price
    samples: int

    def __call__(
        self, rows: Float[Array, "genes choices"], *, key: Array
    ) -> Float[Array, ""]:
        """Returns the mean over draws, with estimated slopes."""
        shapes = (
            jax.ShapeDtypeStruct((), rows.dtype),
            jax.ShapeDtypeStruct(rows.shape, rows.dtype),
        )
        held = jax.lax.stop_gradient(rows)
        seed = jax.random.bits(key)
        mean, slopes = jax.pure_callback(self._estimate, shapes, held, seed)
        return mean + jnp.sum((rows - held) * slopes)

    def _estimate(self, rows: Array, seed: Array) -> tuple[np.ndarray, np.ndarray]:
        p = np.asarray(rows, np.float64)
        rng = np.random.default_rng(int(seed))
        # A little over 1 after the last choice, whatever the rounding of the sum.
        edges = np.cumsum(p[:, :-1], axis=1)
        uniform = rng.random((self.samples, self.space.genes, 1))
        drawn = (uniform >= edges).sum(-1)
        drawn = np.minimum(drawn, self.space.cardinalities - 1)
        places = list(_places(self.space))
        # Each draw with one gene set to one of its choices, for all of them.
        moved = np.repeat(drawn[None], len(places), axis=0)
        for row, (gene, choice) in enumerate(places):
            moved[row, :, gene] = choice
        costs = _priced(
            self.space,
            self.price,
            np.concatenate([drawn, moved.reshape(-1, self.space.genes)]),
        ).reshape(-1, self.samples)
        slopes = np.zeros(p.shape)
        slopes[tuple(np.transpose(places))] = costs[1:].mean(1)
        dtype = np.asarray(rows).dtype
        return np.asarray(costs[0].mean(), dtype), slopes.astype(dtype)


def _places(space: Space) -> Iterator[tuple[int, int]]:
    for gene, choices in enumerate(space.cardinalities):
        for choice in range(choices):
            yield gene, choice


def _priced(
    space: Space, price: Price, genotypes: Genotypes
) -> Float[np.ndarray, " population"]:
    """Returns costs of any genes, each distinct subnet priced once.

    Raises:
        ValueError: If one is not a finite number.
    """
    rows = space.canonical(genotypes)
    distinct, where = np.unique(rows, axis=0, return_inverse=True)
    parts = [
        np.asarray(price(distinct[start : start + CHUNK]), np.float64)
        for start in range(0, len(distinct), CHUNK)
    ]
    found = np.concatenate(parts)
    if found.shape != (len(distinct),):
        raise ValueError(
            f"a cost of {len(distinct)} subnets has shape {found.shape}, expected "
            f"({len(distinct)},)"
        )
    if not np.isfinite(found).all():
        wrong = int(np.argmin(np.isfinite(found)))
        raise ValueError(f"subnet {distinct[wrong]} costs {found[wrong]}")
    return found[where.reshape(-1)]


def _factorised(space: Space, price: Price) -> Factorised | None:
    """Returns the cost as a sum of tables, if it is one of few genes each."""
    anchor = space.cardinalities - 1
    rng = np.random.default_rng(0)
    checks = rng.integers(0, space.cardinalities, (CHECKS, space.genes)).astype("i4")
    expected = _priced(space, price, checks)
    tables: dict[tuple[int, ...], np.ndarray] = {}
    constant = float(_priced(space, price, anchor[None])[0])
    scale = max(float(np.abs(expected).max()), abs(constant), np.finfo(float).tiny)
    varied = [gene for gene in range(space.genes) if anchor[gene] > 0]
    candidates: list[tuple[int, ...]] = [(gene,) for gene in varied]
    priced = 0
    for order in range(1, MOST_GENES + 1):
        priced += sum(math.prod(anchor[list(genes)] + 1) for genes in candidates)
        if priced > MOST_CELLS:
            return None
        found = _own_parts(space, price, candidates, tables, constant)
        tables |= {
            genes: table
            for genes, table in found.items()
            # What rounding leaves is no part: it would only ask for more of them.
            if np.abs(table).max() > 1e-3 * TOLERANCE * scale
        }
        total = _grouped(tables, constant, int(space.cardinalities.max()))
        if np.abs(total.exact(checks) - expected).max() <= TOLERANCE * scale:
            return total
        candidates = _larger(varied, tables, order)
    return None


def _larger(
    varied: list[int], tables: dict[tuple[int, ...], np.ndarray], order: int
) -> list[tuple[int, ...]]:
    """Returns the sets of one gene more whose subsets all add something.

    Any pair may, even of genes that alone add nothing.
    """
    if order == 1:
        return list(itertools.combinations(varied, 2))
    return [
        (*genes, gene)
        for genes in tables
        if len(genes) == order
        for gene in varied
        if gene > genes[-1]
        and all(
            part in tables for part in itertools.combinations((*genes, gene), order)
        )
    ]


def _own_parts(
    space: Space,
    price: Price,
    candidates: list[tuple[int, ...]],
    tables: dict[tuple[int, ...], np.ndarray],
    constant: float,
) -> dict[tuple[int, ...], np.ndarray]:
    """Returns what each set of genes adds to what its subsets do."""
    anchor = space.cardinalities - 1
    shapes = [tuple(space.cardinalities[list(genes)]) for genes in candidates]
    rows = []
    for genes, shape in zip(candidates, shapes, strict=True):
        moved = np.tile(anchor, (math.prod(shape), 1))
        moved[:, genes] = np.stack(np.unravel_index(range(len(moved)), shape), 1)
        rows.append(moved)
    if not rows:
        return {}
    costs = _priced(space, price, np.concatenate(rows).astype(np.int32))
    starts = np.cumsum([0, *(len(part) for part in rows)])
    parts: dict[tuple[int, ...], np.ndarray] = {}
    for genes, shape, start in zip(candidates, shapes, starts, strict=False):
        own = costs[start : start + math.prod(shape)].reshape(shape) - constant
        for order in range(1, len(genes)):
            for axes in itertools.combinations(range(len(genes)), order):
                part = tables.get(tuple(genes[axis] for axis in axes))
                if part is not None:
                    rest = [a for a in range(len(genes)) if a not in axes]
                    own = own - np.expand_dims(part, rest)
        parts[genes] = own
    return parts


def _grouped(
    tables: dict[tuple[int, ...], np.ndarray], constant: float, most: int
) -> Factorised:
    """Stacks the tables of sets of one size, with zeros up to ``most`` choices."""
    genes: list[np.ndarray] = []
    stacked: list[np.ndarray] = []
    for order in sorted({len(key) for key in tables}):
        keys = [key for key in tables if len(key) == order]
        padded = [
            np.pad(tables[key], [(0, most - size) for size in tables[key].shape])
            for key in keys
        ]
        genes.append(np.asarray(keys))
        stacked.append(np.stack(padded))
    return Factorised(constant, tuple(genes), tuple(stacked))
