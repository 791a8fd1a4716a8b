"""How close a plain network with integers is to the floats that it was trained as.

Where activations are rounded, logits do not tell: the last digit of a sum may move an
activation to the next code, that moves those after it, and a few layers later logits
differ by as much as quantising itself costs. Products of codes are exact, those of the
floats that they stand for are not, so the two networks part there. Therefore a network
is compared with its products in floats, and each product in integers by itself.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from kernels.quantization.integers import QuantizedActivations
from supernets.quantization.plain import (
    PlainRounding,
    QuantizedLinear,
    StoredMatrix,
    numbers,
)

ROWS = 4
"""Of random codes that each weight multiplies."""


def holds_integers(network: nnx.Module) -> bool:
    """Says whether weights are stored in few bits."""
    return any(isinstance(node, StoredMatrix) for _, node in nnx.iter_graph(network))


def rounds_activations(network: nnx.Module) -> bool:
    """Says whether some activations are rounded."""
    return any(isinstance(node, PlainRounding) for _, node in nnx.iter_graph(network))


def with_float_products(network: nnx.Module) -> nnx.Module:
    """Returns the network with its products in floats, of the same numbers."""
    twin = nnx.clone(network)
    for _, node in nnx.iter_graph(twin):
        if isinstance(node, PlainRounding):
            node.gives_codes = False
    return twin


def product_difference(network: nnx.Module) -> Float[Array, ""]:
    """Returns how far products in integers are from those in floats, at most.

    Of random codes by each weight that multiplies codes, relative to the largest number
    that a product gives.
    """
    differences = [jnp.zeros(())]
    for seed, layer in enumerate(_integer_layers(network)):
        shape = (ROWS, layer.inputs)
        codes = jax.random.randint(jax.random.key(seed), shape, -128, 128, jnp.int8)
        x = QuantizedActivations(codes, jnp.ones(()), jnp.zeros((), jnp.int32))
        exact, product = layer(x), layer(numbers(x))
        largest = jnp.max(jnp.abs(product))
        difference = jnp.max(jnp.abs(exact - product))
        differences.append(difference / jnp.where(largest > 0, largest, 1.0))
    return jnp.max(jnp.stack(differences))


def _integer_layers(network: nnx.Module) -> Iterator[QuantizedLinear]:
    """Yields the layers of a transformer that multiply codes by codes."""
    for _, part in nnx.iter_graph(network):
        children = vars(part).values() if isinstance(part, nnx.Module) else ()
        if any(isinstance(child, PlainRounding) for child in children):
            yield from (
                child
                for child in children
                if isinstance(child, QuantizedLinear) and child.codes is not None
            )
