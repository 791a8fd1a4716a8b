"""A teacher of 8 hidden units and students of 2 to 32 that share their weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from kernels.extents import restrict
from search.space import Choice, Space
from supernets.activity import active_entries
from supernets.gradient_search.network import MixedNetwork
from supernets.losses.loss import Batch
from supernets.lowering import (
    extent_of,
    full_size,
    indexed_extents,
    outside_layers,
)

HIDDEN = Choice("hidden", (2, 4, 8, 16, 32))
SPACE = Space((HIDDEN,))
INPUTS, EXAMPLES, STEPS = 8, 1024, 1500


class Student(nnx.Module):
    """Hidden ReLU units, of which a prefix is active."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        width = full_size(HIDDEN)
        self.up = nnx.Param(rngs.params.normal((INPUTS, width)) * INPUTS**-0.5)
        self.down = nnx.Param(rngs.params.normal((width,)) * 0.3)

    def __call__(self, x, extents):
        hidden = extent_of(HIDDEN, outside_layers(extents))
        up, down = (
            restrict(self.up[...], hidden, 1),
            restrict(self.down[...], hidden, 0),
        )
        return jax.nn.relu(x @ up) @ down

    def dimensions(self):
        return {"up": (INPUTS, HIDDEN), "down": (HIDDEN,)}


def params_of(seed):
    return nnx.state(Student(rngs=nnx.Rngs(seed)), nnx.Param)


SHAPES = nnx.eval_shape(lambda: Student(rngs=nnx.Rngs(0)))
GRAPH = nnx.graphdef(SHAPES)


def loss(params, extents, batch):
    """Mean squared error."""
    return jnp.mean(
        (nnx.merge(GRAPH, params)(batch.inputs, extents) - batch.targets) ** 2
    )


NETWORK = MixedNetwork(loss, lambda extents: active_entries(SHAPES, extents))


@functools.cache
def data(seed, half=0):
    """Inputs, and what the teacher gives for them."""
    teacher, rng = np.random.default_rng(seed), np.random.default_rng([seed, half])
    up, down = teacher.normal(size=(INPUTS, 8)), teacher.normal(size=8)
    x = rng.normal(size=(EXAMPLES, INPUTS))
    y = np.maximum(x @ up, 0) @ down
    return Batch(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))


@jax.jit
def losses(params, batch):
    """Of every subnet, narrowest first."""
    return jnp.stack(
        [
            loss(params, indexed_extents(SPACE, jnp.asarray([i])), batch)
            for i in range(5)
        ]
    )


@functools.cache
def trained(seed):
    """Weights that every subnet has learned from."""
    optimizer, batch = optax.adam(1e-2), data(seed)
    params = params_of(seed)

    def step(carry, _):
        params, state = carry
        gradient = jax.grad(lambda p: jnp.mean(losses(p, batch)))(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state)
        return (jax.tree.map(jnp.add, params, updates), state), None

    run = jax.jit(lambda c: jax.lax.scan(step, c, length=STEPS)[0])
    return run((params, optimizer.init(params)))[0]
