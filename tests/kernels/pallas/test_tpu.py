"""What the kernels for TPUs copy: a tile is fetched when its index changes."""

import itertools

import jax.numpy as jnp
import pytest

from kernels.pallas.boxes import Blocks
from kernels.pallas.feed_forward_tpu import Grid
from kernels.pallas.tpu import tile_at

pytestmark = pytest.mark.slow

BLOCKS = Blocks(rows=8, inner=8, columns=8)


def indices(function, grid, sizes):
    """What an index map returns at each step of a grid."""
    steps = itertools.product(*(range(count) for count in grid))
    traced = jnp.asarray(sizes, jnp.int32)
    for step in steps:
        arguments = (jnp.asarray(index, jnp.int32) for index in step)
        yield tuple(int(part) for part in function(*arguments, traced))


def copies(tiles) -> int:
    return sum(1 for _ in itertools.groupby(tiles))


@pytest.mark.parametrize(
    ("sizes", "active"),
    [((16, 24, 24), (2, 3, 3)), ((9, 8, 10), (2, 1, 2)), ((8, 17, 3), (1, 3, 1))],
)
def test_a_product_fetches_what_one_of_its_active_size_would(sizes, active):
    rows, inner, columns = active
    visited = list(
        indices(lambda *step: tile_at(*step, blocks=BLOCKS), (2, 3, 3), sizes)
    )
    small = list(itertools.product(range(rows), range(columns), range(inner)))
    assert copies((i, k) for i, _, k in visited) == copies((i, k) for i, _, k in small)
    assert copies((k, j) for _, j, k in visited) == copies((k, j) for _, j, k in small)
    assert set(visited) == set(small)


def test_a_size_of_zero_fetches_one_tile():
    tiles = indices(lambda *step: tile_at(*step, blocks=BLOCKS), (2, 3, 3), (16, 0, 24))
    assert {k for *_, k in tiles} == {0}


@pytest.mark.parametrize(
    ("sizes", "features", "hidden"),
    [((24, 32), 3, 4), ((9, 17), 2, 3), ((3, 5), 1, 1), ((24, 8), 3, 1)],
)
def test_a_network_fetches_its_active_weights_once(sizes, features, hidden):
    grid = Grid(BLOCKS, feature_steps=3, hidden_steps=4)
    visited = list(indices(grid.fetched, (4, 6), sizes))
    assert copies((h, up) for h, up, _ in visited) == features * hidden
    assert copies((h, down) for h, _, down in visited) == features * hidden
    assert {h for h, *_ in visited} == set(range(hidden))
