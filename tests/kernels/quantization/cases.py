"""Weights and schemes that tests of elastic precision share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed, Indexed, Mixed
from kernels.quantization.activations import fake_quantize_activations
from kernels.quantization.bitslice import bitslice, parent_scheme
from kernels.quantization.calibration import (
    activation_scheme,
    min_max_quantizers,
)
from kernels.quantization.fake import fake_quantize
from kernels.quantization.integers import quantize_activations
from kernels.quantization.quantizers import Quantizers, cut_quantizers
from kernels.quantization.scheme import Scheme
from tests.kernels.comparison import normal

WIDTHS = (2, 3, 4, 6, 8)
CHOICES = (2, 4, 8, 16)
INPUTS, OUTPUTS = 12, 6

SCHEMES = {
    "tensor": Scheme(widths=WIDTHS, granularity="tensor"),
    "channel": Scheme(widths=WIDTHS),
    "group": Scheme(widths=WIDTHS, granularity="group", group_size=4),
    "asymmetric": Scheme(widths=WIDTHS, symmetric=False),
    "asymmetric groups": Scheme(
        widths=WIDTHS, granularity="group", group_size=6, symmetric=False
    ),
}

SLICED = ("channel", "asymmetric groups")

QUANTIZED = [
    *(pytest.param(fake_quantize, s, id=f"own-{n}") for n, s in SCHEMES.items()),
    *(
        pytest.param(bitslice, parent_scheme(SCHEMES[n]), id=f"sliced-{n}")
        for n in SLICED
    ),
]
"""Every way to quantise a weight: scales of its own for each width, or slices."""


def indexed(bits, choices=CHOICES):
    return Indexed(jnp.asarray(choices.index(bits)), choices)


def one_hot(bits, choices=CHOICES):
    return Mixed(jax.nn.one_hot(choices.index(bits), len(choices)), choices)


def kinds(bits, choices=CHOICES):
    """The same width as each kind of extent."""
    return Fixed(bits), indexed(bits, choices), one_hot(bits, choices)


def weight_of(shape=(INPUTS, OUTPUTS), seed=0):
    """Numbers that are not centred on 0, so that zero points matter."""
    return jnp.asarray(normal(shape, seed) + np.float32(0.3))


@functools.cache
def learned(scheme):
    """A weight, and quantisers as in training: they cut off the largest numbers."""
    weight = weight_of()
    scale, zero_point = min_max_quantizers(weight, scheme)
    factor = np.random.default_rng(1).uniform(0.4, 0.9, scale.shape)
    scale = scale * jnp.asarray(factor, jnp.float32)
    if zero_point is not None:
        zero_point = zero_point + jnp.asarray(normal(zero_point.shape, 2, 0.4))
    return weight, Quantizers(scale, zero_point)


PREFIX = 9, 5
"""Of a weight of 12 x 6: it ends within groups of 4 and of 6."""


def subnet(scheme):
    """The weight of a subnet, and its part of the quantisers."""
    weight, quantizers = learned(scheme)
    inputs, outputs = PREFIX
    cut = cut_quantizers(quantizers, scheme, inputs=inputs, outputs=outputs)
    return weight[:inputs, :outputs], cut


@functools.cache
def activations(scheme_of, low, inputs, bits):
    """Activations, their codes, and what training sees of them."""
    x = jnp.maximum(jnp.asarray(normal((3, 4, inputs), 3)), low)
    scheme = activation_scheme(x, (4, 8), symmetric=scheme_of.symmetric)
    quantizers = min_max_quantizers(x, scheme)
    fake = fake_quantize_activations(x, Fixed(bits), quantizers, scheme, features=12)
    return quantize_activations(x, bits, quantizers, scheme), fake
