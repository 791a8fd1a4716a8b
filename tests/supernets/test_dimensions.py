"""What layers declare of their weights is how these are shaped, in every model."""

import pytest
from flax import nnx

from supernets.dimensions import stored_weights
from supernets.lowering import fixed_extents, full_size
from tests.supernets.toy import (
    shapes,
    small_decoder,
    small_multi_task,
    small_vision,
    unweighted,
)

SPECS = [
    small_decoder(heads=(2, 4), group=2, norm="layer"),
    small_decoder(gated=False),
    small_vision(pooling="token"),
    small_multi_task(),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_every_weight_is_declared_once_with_its_shape(spec):
    supernet = unweighted(spec)
    stored = list(stored_weights(supernet))
    declared = {
        ".".join(map(str, each.path)): tuple(map(full_size, each.dimensions))
        for each in stored
    }
    assert len(declared) == len(stored)
    assert declared == shapes(supernet)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_a_weight_sees_the_choices_of_its_layer(spec):
    space = spec.space()
    genotype = space.largest.copy()
    # Layer 1 differs from layer 0 in its heads, of which it takes fewer.
    genotype[space.slices["heads"].start + 1] = 0
    extents = fixed_extents(space, genotype)
    heads = space.choice("heads").values
    for stored in stored_weights(unweighted(spec)):
        seen = stored.seen(extents)
        if stored.layer is None:
            assert stored.path[0] != "blocks"
            assert "heads" not in seen
        else:
            assert stored.path[:2] == ("blocks", stored.layer)
            assert seen["heads"].size == heads[1 - stored.layer]


def test_modules_without_elastic_layers_store_nothing():
    assert not list(stored_weights(nnx.Linear(2, 3, rngs=nnx.Rngs(0))))
