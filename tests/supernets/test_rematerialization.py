"""Layers that are computed again: the same gradient from less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from supernets.execution import run_subnet
from supernets.losses.loss import Batch
from supernets.lowering import fixed_extents
from supernets.network import Subnet
from supernets.policies.policy import Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.rematerialization import compiler_options, recompute
from supernets.training import initial_state
from tests.kernels.comparison import assert_close
from tests.supernets.steps import DESCENT, quick_step
from tests.supernets.toy import (
    random_batch,
    random_weights,
    small_decoder,
    unweighted,
    with_weights,
)

POLICY = Sandwich(random=1)


@pytest.mark.long
@pytest.mark.parametrize("execution", ["masked", "switched"])
def test_values_and_gradients_stay(execution):
    spec = small_decoder(width=(8,), heads=(2,), depth=(1, 2))
    space = spec.space()
    subnets = Subnets(space, lambda rows: rows.sum(1).astype(float))
    draw = POLICY.draw(subnets, Moment(0, 3, 10))
    found = []
    for remat in ("nothing", "layers", "dots"):
        step = quick_step(spec, POLICY.slots(space), execution=execution, remat=remat)
        state = initial_state(with_weights(spec, random_weights(spec)), DESCENT)
        found.append(step(state, Batch(*random_batch(spec)), draw, 0))
    for other in found[1:]:
        assert_close(other, found[0])


DEEP = small_decoder(width=(16,), heads=(2,), ffn=(8, 32), depth=(4,))


def temporary_bytes(execution, remat):
    """Of the gradient of a deep network of long sequences."""
    space, (graph, params) = DEEP.space(), nnx.split(unweighted(DEEP))

    def learn(extents, params, inputs):
        def objective(params):
            return jnp.mean(Subnet(graph, params, extents, remat=remat)(inputs).logits)

        return jax.grad(objective)(params)

    def gradient(params, inputs, genotype):
        if execution == "fixed":
            return learn(fixed_extents(space, space.largest), params, inputs)
        return run_subnet(space, genotype, learn, params, inputs, execution=execution)

    inputs = jax.ShapeDtypeStruct((8, 64), np.int32)
    genotype = jax.ShapeDtypeStruct((space.genes,), np.int32)
    options = compiler_options(remat, jax.default_backend())
    compiled = jax.jit(gradient).lower(params, inputs, genotype).compile(options)
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    "execution", ["fixed", pytest.param("switched", marks=pytest.mark.slow)]
)
def test_deep_networks_need_less_memory(execution):
    needed = {r: temporary_bytes(execution, r) for r in ("nothing", "dots", "layers")}
    assert needed["layers"] < 0.4 * needed["nothing"]
    assert needed["layers"] <= needed["dots"] < 0.7 * needed["nothing"]


def test_a_network_without_layers_is_refused():
    class Flat(nnx.Module):
        def __init__(self):
            self.weight = nnx.Param(jnp.ones(2))

    with pytest.raises(ValueError, match="Flat has no list of layers"):
        recompute(Flat(), "layers")
    recompute(Flat(), "nothing")


def test_lists_within_lists_are_part_of_a_layer():
    class Nest(nnx.Module):
        def __init__(self):
            self.inner = nnx.List([nnx.Linear(1, 1, rngs=nnx.Rngs(0))])

    outer = nnx.Module()
    outer.layers = nnx.List([Nest()])
    recompute(outer, "dots")
    assert isinstance(outer.layers[0].layer, Nest)
    assert isinstance(outer.layers[0].layer.inner[0], nnx.Linear)
