"""Exits: the outputs after each choice of depth, from one pass."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from search.space import Depth
from supernets.depth import after_each_depth
from supernets.losses.losses import exit_depths
from supernets.lowering import fixed_extents, indexed_extents
from supernets.network import Subnet, Supernet
from tests.kernels.comparison import assert_close, quick_jit
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

SPEC = small_decoder(depth=(1, 3))
SPACE = SPEC.space()


def subnet(weights, extents):
    graph, params = nnx.split(with_weights(SPEC, weights))
    return Subnet(graph, params, extents)


def test_each_exit_is_the_subnet_of_that_depth():
    inputs, _ = random_windows()
    weights = random_weights(SPEC)
    narrow = np.asarray(SPACE.largest).copy()
    narrow[SPACE.slices["width"]] = 0

    @quick_jit
    def exits(weights, genotype):
        extents = indexed_extents(SPACE, genotype, "masked")
        return subnet(weights, extents).exits(inputs)

    @quick_jit
    def run(weights, genotype):
        extents = indexed_extents(SPACE, genotype, "masked")
        return subnet(weights, extents)(inputs)

    for genotype in (np.asarray(SPACE.largest), narrow):
        found = exits(weights, genotype)
        assert len(found) == len(exit_depths(SPACE)) == 2
        for index, outputs in enumerate(found):
            shallow = genotype.copy()
            shallow[0] = index
            assert_close(outputs, run(weights, shallow))


def test_features_are_padded_to_the_full_width():
    inputs, _ = random_windows()

    def run(weights, genotype):
        return subnet(weights, fixed_extents(SPACE, genotype))(inputs)

    for genotype, width in ((SPACE.smallest, 4), (SPACE.largest, 8)):
        outputs = quick_jit(functools.partial(run, genotype=genotype))(
            random_weights(SPEC)
        )
        assert outputs.features.shape == (*inputs.shape, 8)
        assert outputs.active.tolist() == [1.0] * width + [0.0] * (8 - width)
        assert (np.asarray(outputs.features)[..., width:] == 0).all()
        assert (np.asarray(outputs.features)[..., :width] != 0).all()


@pytest.mark.parametrize("depth", [None, Depth((1, 2), "spaced"), Depth((1,), "free")])
def test_depths_that_are_not_parts_of_each_other_have_no_exits(depth):
    extents = fixed_extents(SPACE, SPACE.largest)
    rule = depth and depth.rule
    with pytest.raises(ValueError, match=f"'prefix' rule, got {rule!r}"):
        after_each_depth([], jnp.zeros((1, 1)), extents, depth, tokens=1)


def test_a_decoder_is_a_supernet():
    assert isinstance(unweighted(SPEC), Supernet)
