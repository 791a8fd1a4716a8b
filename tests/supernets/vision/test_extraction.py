"""The law: a subnet is the same network however it is run, and when it is cut out."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space import Architecture
from supernets.vision.spec import VisionTransformer
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal
from tests.supernets import law
from tests.supernets.toy import (
    active_parts,
    one_hot_probabilities,
    random_batch,
    random_weights,
    small_vision,
    vision_arguments,
    with_weights,
)
from tests.variants import mainly

SPACES = {
    "prefix": {"heads": (0, 1, 2), "pooling": "token"},
    "spaced": {"ffn": (0, 3, 6), "gated": True, "norm": "rms"},
    "free": {"heads": (0, 2), "ffn": (0, 6), "width": (4, 6, 8), "pooling": "token"},
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", mainly(*SPACES, mark=pytest.mark.long))
def test_a_subnet_is_the_same_masked_mixed_sliced_and_extracted(rule):
    assert_lawful(small_vision(depth_rule=rule, **SPACES[rule]), seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("rule", mainly(*SPACES, mark=pytest.mark.long))
@settings(max_examples=10)
@given(vision_arguments(layers=3), st.integers(0, 99))
def test_a_subnet_is_the_same_in_any_space(rule, arguments, seed):
    assert_lawful(VisionTransformer(**arguments, depth_rule=rule), seed)


def assert_lawful(spec, seed):
    space, weights, batch = spec.space(), random_weights(spec), random_batch(spec, seed)
    masked, mixed = law.masked(spec), law.mixed(spec)
    for row, genotype in enumerate(space.sample(4, np.random.default_rng(seed))):
        architecture, genes = space.decode(genotype), jnp.asarray(genotype)
        subnet = masked, spec, architecture, weights, *batch, genes
        expected = law.assert_nothing_leaks(*subnet)
        hot = one_hot_probabilities(space, genotype)
        subnet = mixed, spec, architecture, weights, *batch, hot
        assert_close(law.assert_nothing_leaks(*subnet), expected)
        if row == 0:
            for program in (law.sliced, law.extracted):
                found = program(spec, architecture)(weights, *batch, genes)
                assert_close(found, expected)


@pytest.mark.slow
def test_a_subnet_is_the_same_switched():
    spec = small_vision(heads=(0, 2), ffn=(0, 6), depth=(1, 2), pooling="token")
    space, weights, batch = spec.space(), random_weights(spec), random_batch(spec)
    switched, masked = law.switched(spec), law.masked(spec)
    sampled = space.sample(3, np.random.default_rng(0))
    for genotype in (space.smallest, *sampled, space.largest):
        architecture, genes = space.decode(genotype), jnp.asarray(genotype)
        subnet = switched, spec, architecture, weights, *batch, genes
        found = law.assert_nothing_leaks(*subnet)
        assert_close(found, masked(weights, *batch, genes))


def test_exactly_the_active_weights_are_cut_out():
    spec = small_vision(heads=(0, 2), ffn=(0, 3), depth=(1, 3), depth_rule="free")
    space, supernet = spec.space(), with_weights(spec, random_weights(spec))
    stored = flat_weights(supernet)
    for genotype in space.sample(5, np.random.default_rng(3)):
        architecture = space.decode(genotype)
        parts = active_parts(spec, architecture)
        network = flat_weights(spec.extract(supernet, architecture))
        taken = np.concatenate([np.ravel(weight) for weight in network.values()])
        kept = [np.asarray(weight)[parts[name]] for name, weight in stored.items()]
        assert_equal(np.sort(taken), np.sort(np.concatenate(kept)))


def test_the_sizes_of_the_plain_network_are_those_of_the_layers_that_run():
    spec = small_vision(heads=(0, 2), depth=(1, 2, 3), depth_rule="free")
    architecture = Architecture(
        layers=(0, 2),
        shared=(("width", 8),),
        per_layer=(("heads", (2, 0)), ("ffn", (3, 6))),
    )
    assert dataclasses.asdict(spec.plain_config(architecture)) == {
        "image": (4, 2, 2),
        "patch": 2,
        "classes": 5,
        "pooling": "mean",
        "width": 8,
        "head_dim": 3,
        "heads": (2, 0),
        "ffn": (3, 6),
        "gated": False,
        "norm": "layer",
        "precision": None,
    }


def test_an_architecture_of_another_space_is_not_cut_out():
    spec = small_vision()
    architecture = spec.space().decode(spec.space().smallest)
    other = dataclasses.replace(architecture, shared=(("width", 5),))
    supernet = with_weights(spec, random_weights(spec))
    with pytest.raises(ValueError, match="'width' has no value 5"):
        spec.extract(supernet, other)
