"""Supernets of elastic precision, with random weights, and what they give."""

import functools

import jax.numpy as jnp
import numpy as np
from flax import nnx

from supernets.lowering import indexed_extents
from supernets.quantization.precision import Precision
from tests.kernels.comparison import quick_jit
from tests.supernets.toy import (
    random_weights,
    small_decoder,
    small_vision,
    with_weights,
)

GROUPS = {"granularity": "group", "group_size": 4}

PRECISIONS = {
    "every width": Precision(weights=(2, 4, 8, 16), activations=(4, 8, 16)),
    "asymmetric tensors": Precision(
        granularity="tensor", symmetric=False, weights=(3, 6), activations=(8,), outer=3
    ),
    "groups": Precision(**GROUPS, weights=(4, 16), outer=16),
    "asymmetric groups": Precision(
        **GROUPS, symmetric=False, weights=(2, 8), activations=(4, 16)
    ),
    "adapters": Precision(**GROUPS, adapters=2, weights=(4, 8), activations=(8, 16)),
    "asymmetric adapters": Precision(
        **GROUPS, symmetric=False, adapters=2, weights=(2, 4), activations=(6, 16)
    ),
    "nested": Precision(
        mechanism="nested", weights=(2, 3, 8, 16), activations=(8, 16), outer=4
    ),
    "asymmetric nested groups": Precision(
        **GROUPS, mechanism="nested", symmetric=False, activations=(4, 8)
    ),
    "every scheme": Precision(
        granularity=("tensor", "channel", "group"),
        group_size=4,
        symmetric=(True, False),
        weights=(2, 4, 16),
        activations=(8, 16),
    ),
    "only bfloat16": Precision(weights=(16,), activations=(4,), outer=16),
}
"""One of every mechanism, granularity and symmetry, with and without 16 bits."""

SIZES = {"width": (6, 8), "heads": (0, 2, 4), "ffn": (0, 3, 8), "depth": (1, 2)}
"""Some end within groups of 4, and some skip half of a layer."""


def decoder_of(precision):
    """A decoder whose query heads share key-value heads."""
    return small_decoder(**SIZES, group=2, precision=precision)


def vision_of(precision):
    """A vision transformer with a class token."""
    return small_vision(
        **SIZES, head_dim=4, pooling="token", gated=True, precision=precision
    )


@functools.cache
def weights_of(spec, seed=0):
    """Random weights, with scales that cut some of them off."""
    rng = np.random.default_rng(seed)
    weights = random_weights(spec, seed)
    for name, array in weights.items():
        if name.endswith("log_scale"):
            weights[name] = rng.normal(-2.0, 0.5, array.shape).astype(np.float32)
        if name.endswith("zero_point"):
            weights[name] = rng.normal(0.0, 0.2, array.shape).astype(np.float32)
    return weights


@functools.cache
def supernet_program(spec):
    """Returns the logits of any subnet, in one program."""

    def run(weights, inputs, genotype):
        extents = indexed_extents(spec.space(), genotype, "masked")
        return with_weights(spec, weights)(inputs, extents)

    compiled = quick_jit(run)
    return lambda inputs, genotype: compiled(
        weights_of(spec), inputs, jnp.asarray(genotype)
    )


def output(network, inputs):
    """Returns the logits of a plain network."""
    graph, params = nnx.split(network)
    return quick_jit(lambda params: nnx.merge(graph, params)(inputs))(params)
