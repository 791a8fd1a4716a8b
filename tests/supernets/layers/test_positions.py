"""Positions and a class token: the law of extents for vectors that join a sequence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.extents import Fixed, Indexed, Mixed
from search.space import Choice
from supernets.layers import ElasticPositions, ElasticToken
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

WIDTH = Choice("width", (2, 3, 5))
BATCH, TOKENS = 2, 3

LAYERS = {
    "positions": (lambda: ElasticPositions(TOKENS, WIDTH, rngs=nnx.Rngs(0)), "table"),
    "token": (lambda: ElasticToken(WIDTH, rngs=nnx.Rngs(0)), "vector"),
}

WAYS = {
    "fixed": Fixed(3),
    "indexed": Indexed(jnp.asarray(1), WIDTH.values),
    "mixed": Mixed(jnp.asarray([0.0, 1.0, 0.0]), WIDTH.values),
}


def graph_of(make):
    return nnx.split(nnx.eval_shape(make))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("way", WAYS)
def test_vectors_join_the_active_features_and_nothing_leaks(name, way):
    make, field = LAYERS[name]
    graph, state = graph_of(make)
    vectors = normal(state[field].shape, 0)
    bad = vectors.copy()
    bad[..., 3:] = np.nan
    x = normal((BATCH, TOKENS, 3 if way == "fixed" else 5), 1)
    x[..., 3:] = 0

    @quick_jit
    def run(vectors, x):
        def total(vectors):
            layer = nnx.merge(graph, {field: state[field].replace(vectors)})
            y = layer(x, {"width": WAYS[way], "depth": Fixed(1)})
            return jnp.sum(y**2), y

        return jax.grad(total, has_aux=True)(vectors)

    gradient, y = run(bad, x)
    if name == "positions":
        expected = x[..., :3] + vectors[:, :3]
    else:
        first = np.broadcast_to(vectors[:3], (BATCH, 1, 3))
        expected = np.concatenate([first, x[..., :3]], axis=1)
    assert_close(y[..., :3], expected)
    assert_equal(y[..., 3:], np.zeros_like(y[..., 3:]))
    added = expected if name == "positions" else expected[:, 0]
    assert_close(gradient[..., :3], 2 * added.sum(0))
    assert_equal(gradient[..., 3:], np.zeros_like(vectors[..., 3:]))
