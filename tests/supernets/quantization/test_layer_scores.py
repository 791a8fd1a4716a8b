"""Which layers need many bits, scored on a network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from supernets.decoder.spec import Decoder
from supernets.lowering import at_layer
from supernets.quantization.calibration import unrounded
from supernets.quantization.layer_importance import input_modification, outlier_share
from supernets.quantization.layer_scores import score_layers
from supernets.quantization.precision import Precision
from tests.supernets.toy import random_windows

pytestmark = pytest.mark.slow

SPEC = Decoder(
    width=(8,),
    heads=(1,),
    ffn=(16,),
    depth=(3,),
    head_dim=4,
    vocabulary=7,
    precision=Precision(weights=(2, 8)),
)
IDENTITY = 1
"""The layer that adds nothing."""


@pytest.fixture(scope="module")
def network():
    module = SPEC.build(rngs=nnx.Rngs(0))
    block = module.blocks[IDENTITY]
    block.attention.output[...] = jnp.zeros_like(block.attention.output[...])
    block.feed_forward.down[...] = jnp.zeros_like(block.feed_forward.down[...])
    return module


@pytest.fixture(scope="module")
def scores(network):
    inputs, _ = random_windows(0)
    params = nnx.state(network, nnx.Param)
    shapes = nnx.eval_shape(lambda: SPEC.build(rngs=nnx.Rngs(0)))
    return score_layers(shapes, SPEC.space(), params, inputs)


def test_a_layer_that_changes_nothing_is_the_least_important(scores):
    assert scores.modification.shape == (3,)
    assert scores.modification[IDENTITY] == pytest.approx(-1.0, abs=1e-5)
    others = np.delete(scores.modification, IDENTITY)
    assert (others > scores.modification[IDENTITY] + 1e-3).all()
    assert (others < 1).all()


def test_scores_are_of_what_goes_in_and_out_in_16_bits(network, scores):
    inputs, _ = random_windows(0)
    extents = unrounded(SPEC.space())
    x = network._embedded(inputs, extents)
    for index, block in enumerate(network.blocks):
        y = block(x, at_layer(extents, index), tokens=inputs.shape[1])
        expected = float(input_modification(x, y))
        assert scores.modification[index] == pytest.approx(expected, abs=1e-4)
        x = y


def test_all_matrices_of_a_layer_are_searched_for_outliers(network, scores):
    block = network.blocks[0]
    attention, feed_forward = block.attention, block.feed_forward
    weights = [
        attention.query,
        attention.key,
        attention.value,
        attention.output,
        feed_forward.up,
        feed_forward.gate,
        feed_forward.down,
    ]
    expected = float(outlier_share([weight[...] for weight in weights]))
    assert scores.outliers[0] == pytest.approx(expected, abs=1e-6)
    assert 0 < scores.outliers[IDENTITY] < 0.2


def test_the_network_is_as_it_was(network):
    params = nnx.state(network, nnx.Param)
    before = jax.tree.map(np.asarray, params)
    score_layers(network, SPEC.space(), params, random_windows(0)[0])
    jax.tree.map(np.testing.assert_array_equal, params, before)
    assert type(network.blocks[0]).__name__ == "ElasticBlock"


def test_layers_are_those_of_the_space_and_have_bits(network):
    inputs, _ = random_windows(0)
    params = nnx.state(network, nnx.Param)
    deeper = dataclasses.replace(SPEC, depth=(4,)).space()
    with pytest.raises(ValueError, match=r"there are 3 layers .* and 4 in the space"):
        score_layers(network, deeper, params, inputs)
    plain = dataclasses.replace(SPEC, precision=None)
    module = plain.build(rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="a layer without weights"):
        score_layers(module, plain.space(), nnx.state(module, nnx.Param), inputs)
