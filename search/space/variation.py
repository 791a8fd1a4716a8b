"""Drawing, mutating and crossing genotypes, whole populations at a time."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from search.space.layout import Genotype, Genotypes, Layout

Tilt = Float[np.ndarray, " count"]
"""Where the genes of each draw lie on average: 0 at the first value, 1 at the last."""

Valid = Callable[[Genotypes], Bool[np.ndarray, " population"]]
"""Which genotypes are members: the rules of a space, which a layout does not know."""

MAX_TRIES = 200
"""Draws per genotype before a rule is said to be unsatisfiable."""


def draw(
    layout: Layout,
    count: int,
    rng: np.random.Generator,
    depths: Int[np.ndarray, " count"] | None = None,
    tilt: Tilt | None = None,
) -> Genotypes:
    """Draws genotypes without regard to rules; see :meth:`search.space.Space.sample`.

    Args:
        layout: The genes.
        count: How many.
        rng: Where the randomness comes from.
        depths: Index of each genotype's depth; drawn like a gene when absent.
        tilt: Of each genotype; without it, every gene is uniform over its values.
    """
    genes = _indices(layout.cardinalities, count, rng, tilt)
    if layout.depth is not None:
        if depths is None:
            sizes = np.asarray([len(layout.depth.values)])
            depths = _indices(sizes, count, rng, tilt)[:, 0]
        genes[:, : layout.depth_genes] = depths[:, None]
        if layout.free:
            counts = np.asarray(layout.depth.values)[depths]
            ranks = np.tile(np.arange(layout.layers), (count, 1))
            running = rng.permuted(ranks, axis=1) < counts[:, None]
            genes[:, : layout.layers] = running
    return layout.canonical(genes.astype(np.int32))


def _indices(
    sizes: Int[np.ndarray, " genes"],
    count: int,
    rng: np.random.Generator,
    tilt: Tilt | None,
) -> Int[np.ndarray, "count genes"]:
    """Draws an index below each size, binomial if tilted and else uniform."""
    shape = count, len(sizes)
    if tilt is None:
        return rng.integers(0, sizes[None, :], shape)
    return rng.binomial(sizes[None, :] - 1, tilt[:, None], shape)


def sample(
    layout: Layout,
    valid: Valid,
    count: int,
    rng: np.random.Generator,
    tilt: Tilt | None = None,
) -> Genotypes:
    """Draws valid genotypes; see :meth:`search.space.Space.sample`."""
    drawn = np.zeros((count, layout.genes), np.int32)
    missing = np.arange(count)
    for _ in range(MAX_TRIES):
        tilts = None if tilt is None else tilt[missing]
        drawn[missing] = draw(layout, len(missing), rng, tilt=tilts)
        missing = missing[~valid(drawn[missing])]
        if not len(missing):
            return drawn
    raise ValueError(
        f"no valid architecture in {MAX_TRIES} draws: the rules of this space exclude "
        "nearly every genotype; widen them, or make them part of the choices"
    )


def mutate(
    layout: Layout,
    valid: Valid,
    genotypes: Genotypes,
    rng: np.random.Generator,
    probability: float,
) -> Genotypes:
    """Varies each genotype alone; see :meth:`search.space.Space.mutate`."""

    def vary(rows: Genotypes) -> Genotypes:
        # A layer that a mutation switches on has no genes yet: it gets drawn ones.
        base = np.where(layout.active_genes(rows), rows, draw(layout, len(rows), rng))
        change = rng.random(rows.shape) < probability
        change[np.arange(len(rows)), _pick_active(layout, rows, rng)] = True
        shift = rng.integers(1, np.maximum(layout.cardinalities, 2)[None], rows.shape)
        moved = (base + shift) % layout.cardinalities
        child = np.where(change, moved, base).astype(np.int32)
        return repair_depth(layout, child, rng)

    if sum(layout.members_by_depth) == 1:
        return layout.canonical(genotypes)
    return _retry(layout, valid, vary, genotypes, may_repeat=False)


def crossover(
    layout: Layout,
    valid: Valid,
    first: Genotypes,
    second: Genotypes,
    rng: np.random.Generator,
) -> Genotypes:
    """Mixes two parents; see :meth:`search.space.Space.crossover`."""

    def vary(pair: np.ndarray) -> Genotypes:
        a, b = np.split(pair, 2, axis=1)
        in_a, in_b = layout.active_genes(a), layout.active_genes(b)
        take_a = np.where(in_a == in_b, rng.random(a.shape) < 0.5, in_a)
        mixed = np.where(take_a, a, b)
        # Depth repair can switch on a layer that runs in neither parent.
        drawn = draw(layout, len(pair), rng)
        return repair_depth(layout, np.where(in_a | in_b, mixed, drawn), rng)

    return _retry(layout, valid, vary, np.concatenate([first, second], axis=1))


def repair_depth(
    layout: Layout, genotypes: Genotypes, rng: np.random.Generator
) -> Genotypes:
    """Moves layer counts of the ``free`` rule to the nearest allowed depth."""
    if layout.depth is None or not layout.free:
        return genotypes
    allowed = np.asarray(layout.depth.values)
    running = genotypes[:, : layout.layers].astype(bool)
    distance = np.abs(running.sum(1)[:, None] - allowed[None])
    # Noise below one breaks ties at random, here and in the preference.
    target = allowed[(distance + rng.random(distance.shape) / 2).argmin(1)]
    preference = running + rng.random(running.shape) / 2
    ranks = np.argsort(np.argsort(-preference, axis=1), axis=1)
    repaired = genotypes.copy()
    repaired[:, : layout.layers] = ranks < target[:, None]
    return repaired


def neighbours(layout: Layout, valid: Valid, genotype: Genotype) -> Genotypes:
    """Lists the members one step away; see :meth:`search.space.Space.neighbours`."""
    layout.require_legal(genotype)
    genotype = layout.canonical(genotype[None])[0]
    rows = [genotype]
    for gene in np.flatnonzero(layout.active_genes(genotype[None])[0]):
        for index in range(int(layout.cardinalities[gene])):
            row = genotype.copy()
            row[gene] = index
            rows.append(row)
    rows += _layer_moves(layout, genotype)
    found = np.unique(layout.canonical(np.asarray(rows, np.int32)), axis=0)
    found = found[(found != genotype).any(1)]
    return found[valid(found)]


def _layer_moves(layout: Layout, genotype: Genotype) -> list[Genotype]:
    """Moves of the ``free`` rule that flip several layers: swaps and other depths."""
    if layout.depth is None or not layout.free:
        return []
    running = genotype[: layout.layers].astype(bool)
    on, off = np.flatnonzero(running), np.flatnonzero(~running)
    flips = [[i, j] for i in on for j in off]
    flips += [
        [*off[: max(depth - len(on), 0)], *on[depth:]] for depth in layout.depth.values
    ]
    rows = []
    for flipped in flips:
        row = genotype.copy()
        row[flipped] = 1 - row[flipped]
        rows.append(row)
    return rows


def _retry(
    layout: Layout,
    valid: Valid,
    vary: Callable[[np.ndarray], Genotypes],
    parents: np.ndarray,
    *,
    may_repeat: bool = True,
) -> Genotypes:
    """Varies until each child is valid, or gives up and returns its (first) parent."""
    children = layout.canonical(parents[:, : layout.genes])
    missing = np.arange(len(parents))
    for _ in range(MAX_TRIES):
        tried = layout.canonical(vary(parents[missing]))
        good = valid(tried)
        if not may_repeat:
            good &= (tried != children[missing]).any(1)
        children[missing[good]] = tried[good]
        missing = missing[~good]
        if not len(missing):
            break
    return children


def _pick_active(
    layout: Layout, genotypes: Genotypes, rng: np.random.Generator
) -> Int[np.ndarray, " population"]:
    """Picks one gene of each genotype that matters and has another value."""
    eligible = layout.active_genes(genotypes) & (layout.cardinalities > 1)
    return np.where(eligible, rng.random(genotypes.shape), -1.0).argmax(1)
