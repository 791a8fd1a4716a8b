"""The multi-task supernet: its tasks, exits, features, noise and initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.extents import Fixed
from supernets.collection import require_used
from supernets.lowering import fixed_extents, indexed_extents
from supernets.multitask.spec import Task
from supernets.network import Supernet
from supernets.regularization import Noise
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.toy import (
    random_batch,
    random_weights,
    small_multi_task,
    unweighted,
    with_weights,
)


def compiled(spec, run):
    """A function of a genotype, of the supernet with random weights and its extents."""
    weights, (images, _) = random_weights(spec), random_batch(spec)

    @quick_jit
    def call(genotype):
        extents = indexed_extents(spec.space(), genotype, "masked")
        return run(with_weights(spec, weights), images, extents)

    return call


def test_the_decoder_of_a_task_is_nothing_to_another():
    spec = small_multi_task()
    space, run = spec.space(), compiled(spec, lambda net, *given: net(*given))
    found = run(space.smallest)
    assert {task: row.shape for task, row in found.items()} == {
        "one": (2, 3),
        "two": (2, 5),
    }
    for changed, other in (("one", "two"), ("two", "one")):
        genotype = space.smallest.copy()
        genotype[space.slices[f"{changed}_units"]] = 1
        moved = run(genotype)
        assert_equal(moved[other], found[other])
        assert np.abs(moved[changed] - found[changed]).max() > 0.01


def test_every_choice_shapes_some_layer():
    spec = small_multi_task(decoder_layers=2)
    supernet = unweighted(spec)
    require_used(spec.space(), supernet)
    assert isinstance(supernet, Supernet)


def test_a_task_may_be_called_as_a_method_of_mappings_is():
    tasks = tuple(
        Task(name=name, classes=2, units=(2, 4)) for name in ("items", "keys")
    )
    spec = small_multi_task(tasks=tasks)
    weights, (images, _) = random_weights(spec), random_batch(spec)
    architecture = spec.space().decode(spec.space().smallest)

    @quick_jit
    def both(weights):
        supernet = with_weights(spec, weights)
        extents = fixed_extents(spec.space(), spec.space().smallest)
        return supernet(images, extents), spec.extract(supernet, architecture)(images)

    found, expected = both(weights)
    assert set(found) == {"items", "keys"}
    assert_close(found, expected)


@pytest.mark.slow
def test_an_exit_gives_what_the_subnet_of_that_depth_does():
    spec = small_multi_task(depth=(1, 3), heads=(0, 2))
    genotype = spec.space().sample(1, np.random.default_rng(0))[0]
    exits = compiled(spec, lambda net, *given: net.exits(*given))(genotype)
    outputs = compiled(spec, lambda net, *given: net.outputs(*given))
    for index, found in enumerate(exits):
        genotype[0] = index
        assert_close(found, outputs(genotype))
    assert np.abs(exits[0].logits["one"] - exits[1].logits["one"]).max() > 0.01


def test_there_are_no_exits_without_nested_depths():
    spec = small_multi_task(depth_rule="spaced")
    run = compiled(spec, lambda net, *given: net.exits(*given))
    with pytest.raises(ValueError, match=r"exits need an elastic depth .* 'spaced'"):
        run(spec.space().largest)


def test_features_are_the_mean_over_what_all_decoders_read():
    tasks = (Task(name="one", classes=3, units=(0, 2)),)
    spec = small_multi_task(tasks=tasks, image=(4, 2, 1), norm="layer")
    weights, (images, _) = random_weights(spec), random_batch(spec)
    weights["decoders.one.norm.scale"][:] = 1.0
    weights["decoders.one.norm.bias"][:] = 0.0
    extents = fixed_extents(spec.space(), spec.space().smallest)
    # Both patches of an image alike, so that the mean over tokens is each of them.
    images = jnp.concatenate([images[:, :2], images[:, :2]], axis=1)
    weights["positions.table"][:] = weights["positions.table"][:1]

    @quick_jit
    def run(weights):
        net = with_weights(spec, weights)
        return net(images, extents), net.outputs(images, extents)

    logits, outputs = run(weights)
    assert_equal(outputs.logits, logits)
    assert_equal(outputs.active, np.asarray([1.0] * 4 + [0.0] * 4, np.float32))
    assert_equal(outputs.features[:, 4:], np.zeros((len(images), 4)))
    read = np.asarray(outputs.features)[:, :4]
    centred = read - read.mean(1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6)
    kernel, bias = (weights[f"decoders.one.head.{n}"] for n in ("kernel", "bias"))
    assert_close(unit @ kernel[:4] + bias, logits["one"])


@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.5)])
def test_noise_of_a_key_changes_what_every_task_gives(rates):
    spec = small_multi_task(depth=(2,))
    weights, (images, _) = random_weights(spec), random_batch(spec)
    extents = fixed_extents(spec.space(), spec.space().largest)
    extents = {**extents, "two_units": Fixed(0)}

    @quick_jit
    def run(key):
        net = with_weights(spec, weights)
        noise = Noise(key, *rates)
        return net.outputs(images, extents, noise=noise).logits, net(images, extents)

    (first, without), (again, _), (other, _) = (
        run(jax.random.key(seed)) for seed in (0, 0, 1)
    )
    assert_equal(first, again)
    for task in ("one", "two"):
        assert np.abs(first[task] - without[task]).max() > 0.01
        assert np.abs(first[task] - other[task]).max() > 0.01


def test_the_key_decides_the_initial_weights():
    spec = small_multi_task(depth=(1,))

    @quick_jit
    def build(key):
        return flat_weights(spec.build(rngs=nnx.Rngs(key)))

    first, again, other = (build(jax.random.key(seed)) for seed in (0, 0, 1))
    assert_equal(first, again)
    for name, weight in first.items():
        constant = {"scale": 1.0, "bias": 0.0}.get(name.rpartition(".")[2])
        if constant is None:
            assert not np.array_equal(weight, other[name])
        else:
            assert_equal(weight, np.full(weight.shape, constant))
