"""Weights as flat dictionaries of dotted names."""

import numpy as np
import pytest
from flax import nnx

from supernets.weights import flat_weights, host_copy, set_weights
from tests.kernels.comparison import assert_equal
from tests.supernets.toy import (
    random_weights,
    shapes,
    small_decoder,
    unweighted,
    with_weights,
)


@pytest.fixture
def supernet():
    spec = small_decoder()
    return with_weights(spec, random_weights(spec))


def test_weights_have_dotted_names(supernet):
    weights = flat_weights(supernet)
    assert {name: weight.shape for name, weight in weights.items()} == shapes(supernet)
    assert weights["blocks.1.attention.query"].shape == (8, 2, 4)


def test_weights_that_are_set_are_read_back():
    spec = small_decoder()
    weights = random_weights(spec, seed=1)
    supernet = nnx.merge(*nnx.split(unweighted(spec)))
    set_weights(supernet, weights)
    kept = flat_weights(supernet)
    assert_equal(kept, weights)
    assert all(np.shares_memory(kept[name], weights[name]) for name in weights)
    other = with_weights(spec, random_weights(spec, seed=2))
    set_weights(other, flat_weights(supernet))
    assert_equal(flat_weights(other), weights)


def test_host_copies_are_numpy_arrays(supernet):
    copies = host_copy(flat_weights(supernet))
    assert {type(copy) for copy in copies.values()} == {np.ndarray}
    assert_equal(copies, flat_weights(supernet))
    view = np.arange(6).reshape(2, 3)[:, :2]
    assert host_copy({"view": view})["view"].flags.c_contiguous


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: weights | {"norm.scale": np.ones(3, np.float32)},
            r"'norm.scale' has shape \(3,\), expected \(8,\) \(1 of 20 differ\)",
        ),
        (
            lambda weights: weights | {"norm.offset": np.ones(8, np.float32)},
            r"'norm.offset' has shape \(8,\), expected none \(1 of 20 differ\)",
        ),
        (
            lambda weights: {k: w for k, w in weights.items() if "norm" not in k},
            r"'blocks.0.attention_norm.scale' has shape none, expected \(8,\) \(5 of",
        ),
    ],
)
def test_weights_of_another_network_are_refused_and_change_nothing(
    supernet, change, message
):
    before = host_copy(flat_weights(supernet))
    with pytest.raises(ValueError, match=f"weights do not fit the network: {message}"):
        set_weights(supernet, change(dict(before)))
    assert_equal(flat_weights(supernet), before)
