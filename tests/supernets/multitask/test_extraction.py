"""The law: a subnet is the same network however it is run, and when it is cut out."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from search.space import Architecture
from supernets.activity import active_entries
from supernets.execution import outer_branches
from supernets.lowering import indexed_extents
from supernets.multitask.spec import Task
from supernets.weights import flat_weights, set_weights
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets import law
from tests.supernets.toy import (
    active_parts,
    one_hot_probabilities,
    random_batch,
    random_weights,
    small_multi_task,
    unweighted,
    with_weights,
)

ARCHITECTURE = Architecture(
    layers=(0, 2),
    shared=(("width", 8), ("one_units", 5), ("two_units", 0)),
    per_layer=(("heads", (2, 0)), ("ffn", (3, 6))),
)


@pytest.mark.slow
def test_a_subnet_is_the_same_masked_mixed_sliced_and_extracted():
    # Where layer 0 of the encoder may be skipped, and those of decoders still run.
    sizes = {"heads": (0, 2), "depth_rule": "free", "norm": "rms"}
    spec = small_multi_task(**sizes, decoder_layers=2)
    space, weights, batch = spec.space(), random_weights(spec), random_batch(spec)
    masked, mixed = law.masked(spec), law.mixed(spec)
    for row, genotype in enumerate(space.sample(3, np.random.default_rng(2))):
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
def test_a_subnet_is_the_same_with_its_decoders_switched_inside():
    tasks = (
        Task(name="one", classes=3, units=(0, 1, 2, 3, 5)),
        Task(name="two", classes=5, units=(2, 4)),
    )
    spec = small_multi_task(tasks=tasks, depth=(1,), heads=(1,), ffn=(3,))
    assert outer_branches(spec.space()) == [{"width": 4}, {"width": 8}]
    space, weights, batch = spec.space(), random_weights(spec), random_batch(spec)
    switched, masked = law.switched(spec), law.masked(spec)
    sampled = space.sample(3, np.random.default_rng(0))
    for genotype in (space.smallest, *sampled, space.largest):
        architecture, genes = space.decode(genotype), jnp.asarray(genotype)
        subnet = switched, spec, architecture, weights, *batch, genes
        found = law.assert_nothing_leaks(*subnet)
        assert_close(found, masked(weights, *batch, genes))


def test_active_entries_are_those_of_the_subnet_and_those_cut_out():
    sizes = {"heads": (0, 2), "ffn": (0, 3), "depth_rule": "free"}
    spec = small_multi_task(**sizes, decoder_layers=2)
    space, stored = spec.space(), random_weights(spec)
    # In host memory, where nothing is compiled to cut it.
    supernet = nnx.eval_shape(lambda: spec.build(rngs=nnx.Rngs(0)))
    set_weights(supernet, stored)

    @quick_jit
    def masks(genotype):
        return active_entries(unweighted(spec), indexed_extents(space, genotype))

    for genotype in space.sample(4, np.random.default_rng(3)):
        architecture = space.decode(genotype)
        parts = active_parts(spec, architecture)
        found = nnx.to_flat_state(masks(jnp.asarray(genotype)))
        named = {".".join(map(str, path)): mask[...] for path, mask in found}
        assert_equal(named, parts)
        network = flat_weights(spec.extract(supernet, architecture))
        taken = np.concatenate([np.ravel(weight) for weight in network.values()])
        kept = [weight[parts[name]] for name, weight in stored.items()]
        assert_equal(np.sort(taken), np.sort(np.concatenate(kept)))


def test_the_sizes_of_the_plain_network_are_those_of_the_architecture():
    spec = small_multi_task(heads=(0, 2), depth=(1, 2, 3), depth_rule="free")
    config = spec.plain_config(ARCHITECTURE)
    stored = dataclasses.asdict(config)
    assert stored == {
        "image": (4, 2, 2),
        "patch": 2,
        "width": 8,
        "head_dim": 3,
        "heads": (2, 0),
        "ffn": (3, 6),
        "norm": "layer",
        "tasks": ("one", "two"),
        "classes": (3, 5),
        "units": (5, 0),
        "decoder_layers": 1,
    }
    lists = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in stored.items()
    }
    assert type(config).from_json(lists) == config
    with pytest.raises(TypeError, match="unknown"):
        type(config).from_json({**lists, "unknown": 1})


def test_an_architecture_of_another_space_is_not_cut_out():
    spec = small_multi_task(heads=(0, 2), depth=(1, 2, 3), depth_rule="free")
    shared = (*ARCHITECTURE.shared[:2], ("two_units", 4))
    other = dataclasses.replace(ARCHITECTURE, shared=shared)
    supernet = with_weights(spec, random_weights(spec))
    with pytest.raises(ValueError, match="'two_units' has no value 4"):
        spec.extract(supernet, other)
