"""Hypothesis strategies: spaces as plain data, objectives, violations.

Spaces are built in the test, not in the strategy: the type checks that run when one is
built draw from Python's global random state, which Hypothesis does not allow inside a
strategy.
"""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np

from search.space import Architecture, Choice, Depth, Rule, Space

VALUES = ((4,), (1, 2), (0.5, 1.0, 2.0), (False, True), ("relu", "gelu", "silu"))


@st.composite
def space_specs(draw, *, rules=(None, "prefix", "spaced", "free")):
    """Draws the arguments of :func:`build_space`."""
    layers = draw(st.integers(1, 4))
    rule = draw(st.sampled_from(rules))
    depth = None
    if rule is not None:
        counts = draw(st.sets(st.integers(1, layers), min_size=1))
        depth = (tuple(sorted(counts | {layers})), rule)
    shared = draw(st.lists(st.sampled_from(VALUES), max_size=2))
    per_layer = draw(st.lists(st.sampled_from(VALUES[1:3]), max_size=1))
    if depth is None and not shared and not per_layer:
        shared = [VALUES[1]]
    return layers, depth, tuple(shared), tuple(per_layer), draw(st.booleans())


def build_space(spec) -> Space:
    """Builds a small space; the last part of the spec says whether it has a rule."""
    layers, depth, shared, per_layer, ruled = spec
    choices = [Choice(f"shared_{i}", values) for i, values in enumerate(shared)]
    choices += [
        Choice(f"layer_{i}", v, per_layer=True) for i, v in enumerate(per_layer)
    ]
    space = Space(tuple(choices), layers, None if depth is None else Depth(*depth))
    if not ruled:
        return space
    ends = [space.decode(space.smallest), space.decode(space.largest)]

    def check(architecture: Architecture) -> bool:
        return architecture in ends or int(architecture.id, 16) % 3 > 0

    rule = Rule("the name is no multiple of 3, or an end of the space", check)
    return Space(space.choices, layers, space.depth, (rule,))


def points(objectives: int, max_size: int = 12):
    """Draws objective matrices full of ties: small whole numbers, as floats."""
    shape = st.tuples(st.integers(0, max_size), st.just(objectives))
    return hnp.arrays(float, shape, elements=st.integers(0, 4).map(float))


def all_genotypes(space: Space) -> np.ndarray:
    """Lists the members of a space the slow way: every vector, made canonical."""
    grid = np.indices(tuple(space.cardinalities)).reshape(space.genes, -1).T
    grid = grid.astype(np.int32)
    return np.unique(space.canonical(grid[space.valid(grid)]), axis=0)
