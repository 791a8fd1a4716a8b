"""Costs: counted in the extracted network, and by the compiler."""

import math

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from supernets import costs
from supernets.decoder.spec import Decoder
from supernets.multitask.spec import MultiTask, Task
from supernets.vision.spec import VisionTransformer
from tests.kernels.comparison import quick_jit
from tests.supernets.toy import (
    decoder_arguments,
    multi_task,
    multi_task_arguments,
    shapes,
    vision_arguments,
)


def plain(spec, genotype, *, batch, example):
    """The plain network as a function and its arguments, without weights."""
    config = spec.plain_config(spec.space().decode(genotype))
    network = nnx.eval_shape(lambda: config.build(rngs=nnx.Rngs(0)))
    graph, state = nnx.split(network)

    def run(state, inputs):
        return nnx.merge(graph, state)(inputs)

    dtype = jnp.int32 if len(example) == 1 else jnp.float32
    inputs = jax.ShapeDtypeStruct((batch, *example), dtype)
    return run, (state, inputs), network


def products(jaxpr):
    """Yields the multiply-accumulates of every matrix product."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            length = math.prod(left[axis] for axis in contracted)
            yield length * math.prod(equation.outvars[0].aval.shape)
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from products(inner)


def assert_counted(spec, example, *, batch, seed):
    genotypes = spec.space().sample(2, np.random.default_rng(seed))
    priced = spec.costs(genotypes, batch=batch, example=example)
    for row, genotype in enumerate(genotypes):
        run, given, network = plain(spec, genotype, batch=batch, example=example)
        counted = sum(math.prod(shape) for shape in shapes(network).values())
        assert priced["params"][row] == counted
        macs = sum(products(jax.make_jaxpr(run)(*given).jaxpr))
        assert priced["macs"][row] == macs
        assert priced["flops"][row] == 2 * macs


@pytest.mark.parametrize("rule", ["prefix", "free"])
@settings(max_examples=5)
@given(decoder_arguments(layers=3), st.integers(0, 99), st.integers(1, 3))
def test_costs_are_those_counted_in_the_extracted_decoder(rule, arguments, seed, batch):
    spec = Decoder(**arguments, depth_rule=rule)
    assert_counted(spec, (5,), batch=batch, seed=seed)


@pytest.mark.slow
@settings(max_examples=8)
@given(vision_arguments(layers=3), st.integers(0, 99), st.integers(1, 3))
def test_costs_are_those_counted_in_the_extracted_classifier(arguments, seed, batch):
    spec = VisionTransformer(**arguments, depth_rule="free")
    assert_counted(spec, spec.image, batch=batch, seed=seed)


@settings(max_examples=5)
@given(multi_task_arguments(layers=3), st.integers(0, 99), st.integers(1, 3))
def test_costs_are_those_counted_in_the_extracted_decoders(arguments, seed, batch):
    spec = multi_task(arguments, depth_rule="free")
    assert_counted(spec, spec.image, batch=batch, seed=seed)


SIZES = {"width": (64, 128), "heads": (2, 4), "ffn": (128, 512), "depth": (1, 2)}
DROPPED = {**SIZES, "heads": (0, 4), "ffn": (0, 512)}
TASKS = (
    Task(name="one", classes=10, units=(64, 128)),
    Task(name="two", classes=4, units=(0, 64)),
)

POINTER_BYTES = 8

REALISTIC = {
    "decoder_rms": (Decoder(**SIZES), (64,)),
    "decoder_layer": (Decoder(**SIZES, norm="layer", gated=False, group=2), (64,)),
    "vision_mean": (VisionTransformer(**DROPPED), (32, 32, 3)),
    "vision_token": (VisionTransformer(**SIZES, pooling="token"), (32, 32, 3)),
    "multi_task": (MultiTask(**SIZES, tasks=TASKS, decoder_layers=2), (32, 32, 3)),
}

each_model = pytest.mark.parametrize("name", REALISTIC)


@each_model
@pytest.mark.parametrize("size", ["smallest", "largest"])
def test_the_compiler_counts_our_products_and_little_else(name, size):
    spec, example = REALISTIC[name]
    genotype = getattr(spec.space(), size)
    run, given, _ = plain(spec, genotype, batch=2, example=example)
    flops = spec.costs(genotype[None], batch=2, example=example)["flops"][0]
    counted = jax.jit(run).lower(*given).cost_analysis()["flops"]
    assert flops <= counted <= 1.15 * flops


@each_model
def test_memory_is_what_the_program_takes_and_gives(name):
    spec, example = REALISTIC[name]
    genotype = spec.space().smallest
    run, given, _ = plain(spec, genotype, batch=2, example=example)
    held = quick_jit(run).lower(*given).compile().memory_analysis()
    total = held.argument_size_in_bytes + held.output_size_in_bytes
    outputs = jax.tree.leaves(jax.eval_shape(run, *given))
    if len(outputs) > 1:
        # The compiler counts the table of where they are, too.
        total -= POINTER_BYTES * len(outputs)
    priced = spec.costs(genotype[None], batch=2, example=example)["memory_mb"][0]
    assert priced * 1e6 == pytest.approx(total, abs=0.5)


def test_costs_add_and_are_dropped_where_nothing_runs():
    sizes = np.asarray([[2, 3]])
    layers = costs.linear(5, sizes, sizes).where(np.asarray([[1, 0]]))
    assert layers.params.tolist() == [[4, 0]]
    assert layers.macs.tolist() == [[20, 0]]
    total = layers.over_layers() + costs.vectors(2, np.asarray([2]))
    assert (total.params.tolist(), total.macs.tolist()) == ([8], [20])


def test_large_networks_do_not_overflow():
    sizes = np.asarray([100_000], np.int32)
    assert costs.feed_forward(10, sizes, sizes, use_gate=True).macs[0] == 3 * 10**11
    whole = costs.attention(1, 10, sizes, sizes // 100, 100, 1)
    assert whole.macs[0] == 4 * 10**11 + 2 * 10 * 10 * 10**5
