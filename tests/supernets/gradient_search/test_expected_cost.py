"""Expected costs: exact where a cost is a sum of small parts, estimated elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search.space import Choice, Space
from supernets.gradient_search.decisions import one_hot_rows
from supernets.gradient_search.expected_cost import (
    Factorised,
    Sampled,
    expected_cost,
)
from supernets.model import Model
from tests.supernets.toy import small_decoder, small_multi_task, small_vision


def params(spec: Model):
    example = (4,) if hasattr(spec, "vocabulary") else spec.image
    return lambda g: spec.costs(g, batch=1, example=example)["params"]


def latency(spec: Model):
    weights = np.random.default_rng(0).random(
        spec.latency_terms(spec.space().largest[None]).shape[1]
    )
    return lambda g: spec.latency_terms(g) @ weights


def any_genes(space):
    """Every setting of all genes, canonical or not."""
    return np.stack(
        np.unravel_index(range(np.prod(space.cardinalities)), space.cardinalities), 1
    ).astype(np.int32)


def random_rows(space, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.zeros((space.genes, space.cardinalities.max()), np.float32)
    for gene, choices in enumerate(space.cardinalities):
        rows[gene, :choices] = rng.dirichlet(np.ones(choices))
    return rows


def mean_by_enumeration(space, price, rows):
    every = any_genes(space)
    weights = np.prod(rows.astype(float)[np.arange(space.genes), every], axis=1)
    return float(weights @ price(space.canonical(every)))


SPECS = [
    small_decoder(depth=(1, 2, 3), ffn=(1, 2, 5), depth_rule="prefix"),
    small_decoder(depth=(1, 3), heads=(0, 1, 2), depth_rule="spaced"),
    small_decoder(depth=(1, 2, 3), ffn=(0, 2), depth_rule="free"),
    small_vision(),
    small_multi_task(),
]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", [params, latency])
def test_the_expected_cost_of_a_model_is_its_mean_over_all_subnets(spec, kind):
    space, price = spec.space(), kind(spec)
    cost = expected_cost(space, price)
    assert isinstance(cost, Factorised)
    assert max(genes.shape[1] for genes in cost.genes) <= 3
    every = any_genes(space)
    exact = price(space.canonical(every))
    np.testing.assert_allclose(cost.exact(every), exact, rtol=1e-9)
    rows = random_rows(space)
    mean = cost(jnp.asarray(rows), key=jax.random.key(0))
    np.testing.assert_allclose(mean, mean_by_enumeration(space, price, rows), rtol=1e-5)


def test_the_gradient_of_an_expected_cost_is_that_of_the_mean():
    spec = SPECS[0]
    space, price = spec.space(), params(spec)
    rows = random_rows(space)
    cost = expected_cost(space, price)
    slopes = jax.grad(lambda r: cost(r, key=jax.random.key(0)))(jnp.asarray(rows))
    for gene in range(space.genes):
        ends = [rows.copy() for _ in range(2)]
        for row, choice in enumerate((0, 1)):
            ends[row][gene] = np.arange(rows.shape[1]) == choice
        means = [mean_by_enumeration(space, price, end) for end in ends]
        np.testing.assert_allclose(
            slopes[gene, 1] - slopes[gene, 0], means[1] - means[0], rtol=1e-3, atol=0.1
        )


TANGLED = Space((Choice("a", (1, 2, 3)), *(Choice(n, (1, 2)) for n in "bcdef")))


def product(genotypes):
    """A cost that no sum of parts of few genes is."""
    return np.exp(genotypes.sum(1) % 3).astype(float)


def test_a_cost_of_all_genes_is_estimated_without_bias():
    cost = expected_cost(TANGLED, product, samples=8)
    assert isinstance(cost, Sampled)
    rows = random_rows(TANGLED)
    run = jax.jit(jax.value_and_grad(lambda r, k: cost(r, key=k)))
    keys = jax.random.split(jax.random.key(0), 300)
    values, slopes = zip(*(run(jnp.asarray(rows), key) for key in keys), strict=True)
    expected = mean_by_enumeration(TANGLED, product, rows)
    np.testing.assert_allclose(np.mean(values), expected, rtol=0.03)
    first = rows.copy()
    first[0] = [0.0, 1.0, 0.0]
    mean = mean_by_enumeration(TANGLED, product, first)
    np.testing.assert_allclose(np.mean(slopes, axis=0)[0, 1], mean, rtol=0.05)
    again = run(jnp.asarray(rows), keys[0])
    assert again[0] == values[0]


def test_an_estimate_is_exact_for_a_single_subnet():
    cost = Sampled(TANGLED, product, samples=2)
    for genotype in TANGLED.sample(4, np.random.default_rng(0)):
        rows = one_hot_rows(TANGLED, jnp.asarray(genotype))
        found = cost(rows, key=jax.random.key(1))
        np.testing.assert_allclose(found, product(genotype[None])[0], rtol=1e-6)


def test_a_constant_cost_is_a_constant():
    cost = expected_cost(TANGLED, lambda g: np.full(len(g), 7.0))
    rows = jnp.asarray(random_rows(TANGLED))
    assert float(cost(rows, key=jax.random.key(0))) == 7.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cost_that_is_not_finite_is_refused(bad):
    def price(genotypes):
        return np.where(genotypes[:, 0] == 1, bad, 1.0)

    with pytest.raises(ValueError, match="costs"):
        expected_cost(TANGLED, price)


def test_a_cost_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        expected_cost(TANGLED, lambda g: g.astype(float))


def test_a_mean_needs_a_draw():
    with pytest.raises(ValueError, match="at least one draw"):
        expected_cost(TANGLED, product, samples=0)
