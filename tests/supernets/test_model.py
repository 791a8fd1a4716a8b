"""What every model can do: its protocol, and the sizes of its plain networks."""

import dataclasses
import json

import jax
import jax.export
import numpy as np
import pytest
from flax import nnx

from supernets.model import Model, PlainConfig
from supernets.network import Supernet
from tests.supernets.toy import (
    random_batch,
    random_weights,
    shapes,
    small_decoder,
    small_multi_task,
    small_vision,
    unweighted,
    with_weights,
)

MODELS = {
    "decoder": small_decoder(group=2, heads=(0, 2), depth_rule="free"),
    "vision": small_vision(pooling="token", ffn=(0, 3)),
    "multi_task": small_multi_task(decoder_layers=2),
}

each_model = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)


def stored(spec):
    config = spec.plain_config(spec.space().decode(spec.space().largest))
    return config, json.loads(json.dumps(dataclasses.asdict(config)))


@each_model
def test_a_model_has_what_the_rest_relies_on(spec):
    assert isinstance(spec, Model)
    assert isinstance(unweighted(spec), Supernet)
    assert isinstance(stored(spec)[0], PlainConfig)


@each_model
def test_a_config_is_rebuilt_from_its_json(spec):
    config, encoded = stored(spec)
    assert type(config).from_json(encoded) == config


@each_model
def test_a_config_with_an_unknown_or_missing_field_is_refused(spec):
    config, encoded = stored(spec)
    with pytest.raises(TypeError, match="colour"):
        type(config).from_json(encoded | {"colour": 1})
    del encoded["width"]
    with pytest.raises(TypeError, match="width"):
        type(config).from_json(encoded)


@each_model
def test_a_config_builds_the_network_that_is_cut_out(spec):
    supernet = with_weights(spec, random_weights(spec))
    for genotype in spec.space().sample(3, np.random.default_rng(0)):
        architecture = spec.space().decode(genotype)
        network = spec.extract(supernet, architecture)
        config = spec.plain_config(architecture)
        built = nnx.eval_shape(lambda config=config: config.build(rngs=nnx.Rngs(0)))
        assert shapes(built) == shapes(network)


@each_model
def test_one_program_of_a_plain_network_takes_any_batch(spec):
    config, _ = stored(spec)
    network = nnx.eval_shape(lambda: config.build(rngs=nnx.Rngs(0)))
    graph, state = nnx.split(network)
    inputs, _ = random_batch(spec)
    (batch,) = jax.export.symbolic_shape("batch")
    any_batch = jax.ShapeDtypeStruct((batch, *inputs.shape[1:]), inputs.dtype)
    run = jax.jit(lambda state, inputs: nnx.merge(graph, state)(inputs))
    exported = jax.export.export(run)(state, any_batch)
    assert exported.out_avals[0].shape[0] == batch
