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
from supernets.decoder.extraction import plain_config
from supernets.decoder.plain import PlainDecoder
from supernets.decoder.spec import Decoder
from tests.kernels.comparison import quick_jit
from tests.supernets.toy import decoder_arguments, shapes


def plain(spec, genotype, *, batch, tokens):
    """The plain network as a function and its arguments, without weights."""
    config = plain_config(spec, spec.space().decode(genotype))
    network = nnx.eval_shape(lambda: PlainDecoder(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(network)

    def run(state, tokens):
        return nnx.merge(graph, state)(tokens)

    tokens = jax.ShapeDtypeStruct((batch, tokens), jnp.int32)
    return run, (state, tokens), network


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


@pytest.mark.parametrize("rule", ["prefix", "free"])
@settings(max_examples=5)
@given(decoder_arguments(layers=3), st.integers(0, 99), st.integers(1, 3))
def test_costs_are_those_counted_in_the_extracted_network(rule, arguments, seed, batch):
    spec = Decoder(**arguments, depth_rule=rule)
    genotypes = spec.space().sample(2, np.random.default_rng(seed))
    priced = spec.costs(genotypes, batch=batch, tokens=5)
    for row, genotype in enumerate(genotypes):
        run, given, network = plain(spec, genotype, batch=batch, tokens=5)
        counted = sum(math.prod(shape) for shape in shapes(network).values())
        assert priced["params"][row] == counted
        macs = sum(products(jax.make_jaxpr(run)(*given).jaxpr))
        assert priced["macs"][row] == macs
        assert priced["flops"][row] == 2 * macs


def realistic(**changes):
    sizes = {"width": (64, 128), "heads": (2, 4), "ffn": (128, 512), "depth": (1, 2)}
    return Decoder(**{**sizes, **changes})


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("size", ["smallest", "largest"])
def test_the_compiler_counts_our_products_and_little_else(norm, size):
    spec = realistic(norm=norm, gated=norm == "rms")
    genotype = getattr(spec.space(), size)
    run, given, _ = plain(spec, genotype, batch=2, tokens=64)
    flops = spec.costs(genotype[None], batch=2, tokens=64)["flops"][0]
    counted = jax.jit(run).lower(*given).cost_analysis()["flops"]
    assert flops <= counted <= 1.15 * flops


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_memory_is_what_the_program_takes_and_gives(norm):
    spec = realistic(norm=norm, group=2)
    genotype = spec.space().smallest
    run, given, _ = plain(spec, genotype, batch=2, tokens=16)
    held = quick_jit(run).lower(*given).compile().memory_analysis()
    total = held.argument_size_in_bytes + held.output_size_in_bytes
    priced = spec.costs(genotype[None], batch=2, tokens=16)["memory_mb"][0]
    assert priced * 1e6 == pytest.approx(total, abs=0.5)


def test_costs_add_and_are_dropped_where_nothing_runs():
    sizes = np.asarray([[2, 3]])
    layers = costs.linear(5, sizes, sizes).where(np.asarray([[1, 0]]))
    assert layers.params.tolist() == [[4, 0]]
    assert layers.macs.tolist() == [[20, 0]]
    total = layers.over_layers() + costs.norm(np.asarray([2]), vectors=2)
    assert (total.params.tolist(), total.macs.tolist()) == ([8], [20])
    table = costs.table(7, np.asarray([3]))
    assert (table.params.tolist(), table.macs.tolist()) == ([21], [0])


def test_large_networks_do_not_overflow():
    sizes = np.asarray([100_000], np.int32)
    assert costs.feed_forward(10, sizes, sizes, use_gate=True).macs[0] == 3 * 10**11
    whole = costs.attention(1, 10, sizes, sizes // 100, 100, 1)
    assert whole.macs[0] == 4 * 10**11 + 2 * 10 * 10 * 10**5
