"""Proxies of subnets: those of the networks cut out, by one program for all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.normalization import EPSILON
from search.space import Choice, Space
from supernets.layers import ElasticLinear
from supernets.losses.entropy import data_loss
from supernets.lowering import outside_layers
from supernets.proxies import population
from supernets.proxies.measures import (
    FLOOR,
    gradient_norm,
    jacobian_volume,
    synaptic_flow,
)
from supernets.proxies.names import PROXIES
from supernets.proxies.population import make_proxies
from tests.kernels.comparison import (
    assert_equal,
    quick_jit,
    quick_options,
)
from tests.supernets.toy import (
    poisoned,
    random_batch,
    random_weights,
    small_decoder,
    small_multi_task,
    small_vision,
    unweighted,
    with_weights,
)

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

SPECS = {
    "decoder": small_decoder(depth_rule="free"),
    "plain decoder": small_decoder(gated=False, norm="layer", heads=(0, 2)),
    "vision": small_vision(pooling="token"),
    "rms vision": small_vision(gated=True, norm="rms", ffn=(0, 6)),
    "tasks": small_multi_task(),
}

COUNT = 3
"""Subnets in every call, so that each program compiles once."""

ROUNDING = 2e-4

USUAL = ("decoder", "tasks")
"""What the default suite has time to compile; the others are as well tested slowly."""


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(population, "QUICK_TO_COMPILE", quick_options())
        yield


@functools.cache
def program(spec, execution="masked"):
    return make_proxies(unweighted(spec), spec.space(), PROXIES, execution=execution)


def proxies_of(spec, genotypes, weights, execution="masked"):
    data = jax.tree.map(np.asarray, random_batch(spec))
    params = nnx.state(with_weights(spec, weights), nnx.Param)
    return program(spec, execution)(params, genotypes, *data)


def sampled(spec):
    """The smallest subnet, one in between and the largest."""
    space = spec.space()
    drawn = space.sample(COUNT - 2, np.random.default_rng(1))
    return np.concatenate([space.smallest[None], drawn, space.largest[None]])


def assert_near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)


class HeldPlainNorm(nnx.Module):
    """What a norm of a plain network is to synaptic flow."""

    def __init__(self, scale):
        self.scale = nnx.Variable(scale)

    def __call__(self, x):
        square = jnp.mean(jax.lax.stop_gradient(x) ** 2, -1, keepdims=True)
        scale = self.scale[...].reshape((1,) * (x.ndim - 1) + (-1,))
        return x / jnp.sqrt(square + EPSILON) * scale


class PlainEmbedding(nnx.Module):
    """Gives vectors for tokens, whatever they are, and scores with a table."""

    def __init__(self, table, vectors):
        self.table, self.vectors = nnx.Variable(table), nnx.Variable(vectors)

    def __call__(self, _):
        return self.vectors[...]

    def attend(self, x):
        return x @ self.table[...].T


def expected_proxies(spec, genotype, weights):
    """The proxies of the network cut out, by plain means of its own."""
    inputs, targets = random_batch(spec)
    network = spec.extract(with_weights(spec, weights), spec.space().decode(genotype))
    graph, params = nnx.split(network)

    def run(params, inputs):
        def loss(params):
            return data_loss(nnx.merge(graph, params)(inputs), targets)

        def flow(params):
            network = nnx.merge(graph, params)
            hold_plain_norms(network)
            ones = jnp.ones_like(inputs[:1])
            if hasattr(network, "embedding"):
                table = network.embedding.embedding[...]
                vectors = jnp.ones((ones.size, table.shape[1]))
                network.embedding = PlainEmbedding(table, vectors)
            return total(network(ones))

        def outputs(x):
            network = nnx.merge(graph, params)
            if not hasattr(network, "embedding"):
                return total(network(x))
            table = network.embedding.embedding[...]
            vectors = x.reshape(-1, x.shape[-1])
            network.embedding = PlainEmbedding(table, vectors)
            return total(network(inputs))

        embedded = inputs
        if hasattr(network, "embedding"):
            embedded = params["embedding"]["embedding"][...][inputs]
        return {
            "proxy_grad_norm": gradient_norm(loss, params),
            "proxy_synflow": synaptic_flow(flow, params),
            "proxy_jacobian": jacobian_volume(outputs, embedded),
        }

    return quick_jit(run)(params, inputs)


def total(logits):
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(logits))


def hold_plain_norms(network):
    for _, owner in list(nnx.iter_modules(network)):
        for name, held in list(vars(owner).items()):
            if isinstance(held, nnx.RMSNorm | nnx.LayerNorm):
                setattr(owner, name, HeldPlainNorm(held.scale[...]))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in USUAL else pytest.mark.long)
        for name in SPECS
    ],
)
def test_proxies_are_those_of_the_extracted_network_and_nothing_leaks(name):
    spec, weights = SPECS[name], random_weights(SPECS[name])
    genotypes = sampled(spec)
    found = proxies_of(spec, genotypes, weights)
    inner = genotypes[1]
    for proxy, value in expected_proxies(spec, inner, weights).items():
        assert_near(found[proxy][1], float(value))
    bad = poisoned(spec, weights, spec.space().decode(inner))
    alike = proxies_of(spec, np.stack([inner] * COUNT), bad)
    for proxy, values in alike.items():
        assert_equal(values, np.full(COUNT, found[proxy][1]))


def test_one_program_tells_all_subnets_apart(compilations):
    spec = SPECS["decoder"]
    weights = random_weights(spec)
    proxies_of(spec, sampled(spec), weights)
    compilations.clear()
    found = proxies_of(spec, sampled(spec)[::-1], weights)
    assert not compilations
    assert found.keys() == {f"proxy_{proxy}" for proxy in PROXIES}
    for values in found.values():
        assert values.dtype == np.float64
        assert len(np.unique(values.round(6))) == COUNT


def test_genes_of_layers_that_do_not_run_change_nothing():
    spec = SPECS["decoder"]
    space, weights, genotypes = spec.space(), random_weights(spec), sampled(spec)
    rng = np.random.default_rng(1)
    noise = rng.integers(0, space.cardinalities[None], genotypes.shape)
    noisy = np.where(space.active_genes(genotypes), genotypes, noise).astype(np.int32)
    assert (noisy != genotypes).any()
    assert_equal(proxies_of(spec, noisy, weights), proxies_of(spec, genotypes, weights))


@pytest.mark.parametrize(
    "spec",
    [
        small_decoder(width=(8,), ffn=(0, 6), depth=(1,)),
        pytest.param(small_decoder(), marks=pytest.mark.long),
        pytest.param(small_vision(pooling="token"), marks=pytest.mark.long),
        pytest.param(small_multi_task(), marks=pytest.mark.long),
    ],
)
def test_switched_subnets_have_the_same_proxies(spec):
    genotypes, weights = sampled(spec), random_weights(spec)
    masked = proxies_of(spec, genotypes, weights)
    switched = proxies_of(spec, genotypes, weights, "switched")
    for proxy, values in masked.items():
        assert_near(switched[proxy], values)
    bad = poisoned(spec, weights, spec.space().decode(genotypes[0]))
    alike = proxies_of(spec, np.stack([genotypes[0]] * COUNT), bad, "switched")
    for proxy, values in alike.items():
        assert_equal(values, np.full(COUNT, switched[proxy][0]))


class Linear(nnx.Module):
    """Two linear maps of pixels with an elastic size between them."""

    def __init__(self, units, *, rngs):
        self.first = ElasticLinear(4, units, use_bias=False, rngs=rngs)
        self.second = ElasticLinear(units, 3, use_bias=False, rngs=rngs)

    def __call__(self, images, extents):
        outer = outside_layers(extents)
        rows = images.reshape(images.shape[0], 4)
        return self.second(self.first(rows, outer), outer)


def test_a_linear_network_has_the_proxies_of_its_closed_form():
    units = Choice("units", (2, 5))
    space = Space(choices=(units,), layers=1)
    network = Linear(units, rngs=nnx.Rngs(0))
    first, second = (
        np.asarray(layer.kernel[...]) for layer in (network.first, network.second)
    )
    rng = np.random.default_rng(0)
    images = rng.normal(size=(6, 2, 2, 1)).astype(np.float32)
    targets = rng.integers(0, 3, 6).astype(np.int32)
    measure = make_proxies(network, space, PROXIES, execution="masked")
    genotypes = np.asarray([[0], [1]], np.int32)
    found = measure(nnx.state(network, nnx.Param), genotypes, images, targets)
    for row, size in enumerate((2, 5)):
        one, two = first[:, :size], second[:size]
        flow = 2 * (np.abs(one) @ np.abs(two)).sum()
        assert_near(found["proxy_synflow"][row], flow)
        rows = images.reshape(6, 4)
        logits = rows @ one @ two
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        error = (chances - np.eye(3)[targets]) / 6
        gradients = rows.T @ error @ two.T, (rows @ one).T @ error
        length = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        assert_near(found["proxy_grad_norm"][row], length)
        # All Jacobians of a linear map are the same.
        least = np.log(6) + 5 * np.log(FLOOR)
        assert found["proxy_jacobian"][row] == pytest.approx(least, rel=0.05)


def test_what_is_not_a_proxy_is_refused():
    spec = SPECS["vision"]
    with pytest.raises(ValueError, match="name some of the proxies"):
        make_proxies(unweighted(spec), spec.space(), [])


def test_jacobians_of_tokens_need_one_embedding():
    units = Choice("units", (2, 5))
    space = Space(choices=(units,), layers=1)
    network = Linear(units, rngs=nnx.Rngs(0))
    tokens = np.zeros((2, 4), np.int32)
    measure = make_proxies(network, space, ["jacobian"], execution="masked")
    with pytest.raises(ValueError, match="must have one: leave the proxy out"):
        measure(
            nnx.state(network, nnx.Param),
            np.zeros((1, 1), np.int32),
            tokens,
            tokens[:, 0],
        )
