"""Exact costs of the building blocks, for whole populations at once.

Sizes are NumPy arrays that broadcast over a population, so a search can price thousands
of subnets without building one. A MAC is one multiply-accumulate of a matrix product;
FLOPs are 2 x MACs. Both agree with XLA's own count of the extracted network's products.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from kernels.quantization.scheme import FLOAT_WIDTH, Scheme
from kernels.quantization.sizes import BITS_PER_BYTE, weight_bytes

Sizes = np.ndarray

BYTES_PER_FLOAT = 4
BYTES_PER_MEGABYTE = 1e6
FLOAT_BITS = 32


class Bits(NamedTuple):
    """How precise the factors of products are.

    Attributes:
        weights: Bits of each weight's entries.
        activations: Bits of what it is multiplied by.
        schemes: Ways to quantise weights below 16 bits.
        which: The place of each weight's among them.
        has_adapters: Whether a float of each group and channel is stored with them.
    """

    weights: Sizes | int
    activations: Sizes | int
    schemes: tuple[Scheme, ...] = ()
    which: Sizes | int = 0
    has_adapters: bool = False

    def stored(self, inputs: Sizes, outputs: Sizes) -> Sizes:
        """Returns the bytes of weights, with their scales."""
        count = np.asarray(inputs, np.int64) * outputs
        if not self.schemes:
            return np.asarray(-(-count * self.weights // BITS_PER_BYTE))
        by_scheme = [
            weight_bytes(
                inputs, outputs, self.weights, scheme, offsets=self.has_adapters
            )
            for scheme in self.schemes
        ]
        return np.asarray(np.choose(self.which, by_scheme))

    def moved(self, weights: Sizes, rows: int, inputs: Sizes, outputs: Sizes) -> Sizes:
        """Returns the bytes that a product reads and writes.

        Args:
            weights: Bytes of its weight.
            rows: It is multiplied by.
            inputs: Of the weight.
            outputs: Of the weight, which are written as floats.
        """
        read = np.asarray(inputs, np.int64) * rows * self._read // BITS_PER_BYTE
        written = BYTES_PER_FLOAT * rows * np.asarray(outputs, np.int64)
        return np.asarray(weights + read + written)

    @property
    def _read(self) -> Sizes:
        """Bits of an activation: what is not rounded is a float."""
        bits = np.asarray(self.activations)
        return np.where(bits < FLOAT_WIDTH, bits, FLOAT_BITS)


FLOAT = Bits(FLOAT_BITS, FLOAT_BITS)
"""Of weights and activations that nothing rounds."""


class Product(NamedTuple):
    """One matrix product of every subnet, or of each of its layers.

    Attributes:
        macs: Its multiply-accumulates; 0 where it does not run.
        values: Numbers that it reads and writes: weights, inputs and outputs.
        bytes: The bytes that these are.
    """

    macs: Sizes
    values: Sizes
    bytes: Sizes


@dataclasses.dataclass(frozen=True)
class Cost:
    """Parameters held and multiply-accumulates done; costs add and scale.

    Attributes:
        params: Parameters; scales and zero points of quantised ones are not counted.
        macs: Multiply-accumulates of all products together.
        size: Bytes of parameters as they are stored, with scales and zero points.
        bit_operations: Multiply-accumulates times the bits of both factors.
        products: The products one by one, for what does not add up, such as which of
            them wait for memory. Summing over layers leaves them apart.
    """

    params: Sizes
    macs: Sizes
    size: Sizes
    bit_operations: Sizes
    products: tuple[Product, ...] = ()

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.params + other.params,
            self.macs + other.macs,
            self.size + other.size,
            self.bit_operations + other.bit_operations,
            self.products + other.products,
        )

    def where(self, active: Sizes) -> "Cost":
        """Returns the cost where active, and nothing elsewhere."""
        kept = (Product(*(part * active for part in p)) for p in self.products)
        params, macs, size, operations = (part * active for part in self._sums)
        return Cost(params, macs, size, operations, tuple(kept))

    def over_layers(self) -> "Cost":
        """Sums the last axis, which holds the layers."""
        params, macs, size, operations = (part.sum(-1) for part in self._sums)
        return Cost(params, macs, size, operations, self.products)

    @property
    def traffic(self) -> Sizes:
        """Bytes that all products together read and write."""
        total = np.zeros(self.macs.shape)
        for product in self.products:
            layers = product.bytes.ndim > total.ndim
            total = total + (product.bytes.sum(-1) if layers else product.bytes)
        return total

    @property
    def _sums(self) -> tuple[Sizes, Sizes, Sizes, Sizes]:
        return self.params, self.macs, self.size, self.bit_operations


def priced(
    total: Cost, *, other_bytes: int
) -> dict[str, Float[np.ndarray, " population"]]:
    """Returns costs by name; see `supernets.model.Model.costs`.

    Args:
        total: Of whole networks.
        other_bytes: What a device holds beside the weights: inputs and logits.
    """
    return {
        "params": total.params.astype(float),
        "macs": total.macs.astype(float),
        "flops": 2.0 * total.macs,
        "memory_mb": (total.size + other_bytes) / BYTES_PER_MEGABYTE,
        "size_mb": total.size / BYTES_PER_MEGABYTE,
        "bops": total.bit_operations.astype(float),
        "traffic_mb": total.traffic / BYTES_PER_MEGABYTE,
    }


def linear(rows: int, inputs: Sizes, outputs: Sizes, bits: Bits = FLOAT) -> Cost:
    """Cost of one product of ``rows`` vectors with an inputs x outputs weight."""
    params = np.asarray(inputs, np.int64) * outputs
    values = params + rows * (np.asarray(inputs, np.int64) + outputs)
    size = bits.stored(inputs, outputs)
    moved = bits.moved(size, rows, inputs, outputs)
    macs, some = rows * params, params > 0
    # Where there is nothing on one side there is no product at all.
    product = Product(macs, values * some, moved * some)
    operations = np.asarray(macs, float) * bits.weights * bits.activations
    return Cost(params, macs, size, np.asarray(operations), (product,))


def tied(rows: int, inputs: Sizes, outputs: Sizes, bits: Bits = FLOAT) -> Cost:
    """Cost of one product with weights that are counted elsewhere."""
    product = linear(rows, inputs, outputs, bits)
    none = np.zeros_like(product.params)
    return dataclasses.replace(product, params=none, size=none)


def table(inputs: Sizes, outputs: Sizes, bits: Bits = FLOAT) -> Cost:
    """Cost of a weight that is looked up in: it multiplies nothing."""
    weight = linear(0, inputs, outputs, bits)
    return dataclasses.replace(weight, products=())


def vectors(count: int, features: Sizes) -> Cost:
    """Cost of ``count`` learned vectors that no product reads.

    Such are biases; tokens and positions that join a sequence; a norm (1 vector for
    RMSNorm, 2 for LayerNorm). They are floats, whatever bits other weights have.
    """
    params = np.asarray(count * features, np.int64)
    none = np.zeros_like(params)
    size = np.asarray(BYTES_PER_FLOAT * params)
    return Cost(params, none, size, none.astype(float))


def attention(
    batch: int,
    tokens: int,
    features: Sizes,
    heads: Sizes,
    head_dim: int,
    group: int,
    bits: Bits = FLOAT,
) -> Cost:
    """Cost of self-attention: four projections and two products over positions.

    The products are counted over all ``tokens x tokens`` pairs, as they are computed,
    not over the visible half. Their factors are floats, and so count as of 16 bits
    where weights have fewer than 32.
    """
    rows = batch * tokens
    inner, narrow = heads * head_dim, heads // group * head_dim
    query = linear(rows, features, inner, bits)
    output = linear(rows, inner, features, bits)
    shared = linear(rows, features, narrow, bits)
    inner = np.asarray(inner, np.int64)
    # Queries and keys give scores, scores and values the result; scores are stored.
    keys = np.asarray(heads // group * head_dim, np.int64)
    moved = rows * (inner + keys + tokens * np.asarray(heads, np.int64))
    each = Product(rows * tokens * inner, moved, BYTES_PER_FLOAT * moved)
    width = FLOAT_WIDTH if bits.schemes else FLOAT_BITS
    scores = Cost(
        np.zeros_like(inner),
        2 * each.macs,
        np.zeros_like(inner),
        2.0 * each.macs * width**2,
        (each, each),
    )
    return query + output + shared + shared + scores


def feed_forward(
    rows: int, features: Sizes, hidden: Sizes, *, use_gate: bool, bits: Bits = FLOAT
) -> Cost:
    """Cost of a nested feed-forward network: two products, three with a gate."""
    into = linear(rows, features, hidden, bits)
    back = linear(rows, hidden, features, bits)
    return into + into + back if use_gate else into + back
