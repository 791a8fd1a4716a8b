"""Exact costs of the building blocks, for whole populations at once.

Sizes are NumPy arrays that broadcast over a population, so a search can price thousands
of subnets without building one. A MAC is one multiply-accumulate of a matrix product;
FLOPs are 2 x MACs. Both agree with XLA's own count of the extracted network's products.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Sizes = np.ndarray

BYTES_PER_FLOAT = 4
BYTES_PER_MEGABYTE = 1e6


class Product(NamedTuple):
    """One matrix product of every subnet, or of each of its layers.

    Attributes:
        macs: Its multiply-accumulates; 0 where it does not run.
        values: Numbers that it reads and writes: weights, inputs and outputs.
    """

    macs: Sizes
    values: Sizes


@dataclasses.dataclass(frozen=True)
class Cost:
    """Parameters held and multiply-accumulates done; costs add and scale.

    Attributes:
        params: Parameters.
        macs: Multiply-accumulates of all products together.
        products: The products one by one, for what does not add up, such as which of
            them wait for memory. Summing over layers leaves them apart.
    """

    params: Sizes
    macs: Sizes
    products: tuple[Product, ...] = ()

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.params + other.params,
            self.macs + other.macs,
            self.products + other.products,
        )

    def where(self, active: Sizes) -> "Cost":
        """Returns the cost where active, and nothing elsewhere."""
        kept = (Product(p.macs * active, p.values * active) for p in self.products)
        return Cost(self.params * active, self.macs * active, tuple(kept))

    def over_layers(self) -> "Cost":
        """Sums the last axis, which holds the layers."""
        return Cost(self.params.sum(-1), self.macs.sum(-1), self.products)


def priced(
    total: Cost, *, other_bytes: int
) -> dict[str, Float[np.ndarray, " population"]]:
    """Returns costs by name; see `supernets.model.Model.costs`.

    Args:
        total: Of whole networks with float32 weights.
        other_bytes: What a device holds beside the weights: inputs and logits.
    """
    return {
        "params": total.params.astype(float),
        "macs": total.macs.astype(float),
        "flops": 2.0 * total.macs,
        "memory_mb": (BYTES_PER_FLOAT * total.params + other_bytes)
        / BYTES_PER_MEGABYTE,
    }


def linear(rows: int, inputs: Sizes, outputs: Sizes) -> Cost:
    """Cost of one product of ``rows`` vectors with an inputs x outputs weight."""
    params = np.asarray(inputs, np.int64) * outputs
    moved = params + rows * (np.asarray(inputs, np.int64) + outputs)
    # Where there is nothing on one side there is no product at all.
    product = Product(rows * params, moved * (params > 0))
    return Cost(params, rows * params, (product,))


def tied(rows: int, inputs: Sizes, outputs: Sizes) -> Cost:
    """Cost of one product with weights that are counted elsewhere."""
    product = linear(rows, inputs, outputs)
    return dataclasses.replace(product, params=np.zeros_like(product.params))


def vectors(count: int, features: Sizes) -> Cost:
    """Cost of ``count`` learned vectors that no product reads.

    Such are an embedding, where looking up multiplies nothing; biases; tokens and
    positions that join a sequence; a norm (1 vector for RMSNorm, 2 for LayerNorm).
    """
    params = np.asarray(count * features, np.int64)
    return Cost(params, np.zeros_like(params))


def attention(
    batch: int, tokens: int, features: Sizes, heads: Sizes, head_dim: int, group: int
) -> Cost:
    """Cost of self-attention: four projections and two products over positions.

    The products are counted over all ``tokens x tokens`` pairs, as they are computed,
    not over the visible half.
    """
    rows = batch * tokens
    projections = linear(rows, features, heads * head_dim)
    shared = linear(rows, features, heads // group * head_dim)
    inner = np.asarray(heads * head_dim, np.int64)
    # Queries and keys give scores, scores and values the result; scores are stored.
    keys = np.asarray(heads // group * head_dim, np.int64)
    moved = rows * (inner + keys + tokens * np.asarray(heads, np.int64))
    each = Product(rows * tokens * inner, moved)
    scores = Cost(np.zeros_like(inner), 2 * each.macs, (each, each))
    return projections + projections + shared + shared + scores


def feed_forward(rows: int, features: Sizes, hidden: Sizes, *, use_gate: bool) -> Cost:
    """Cost of a nested feed-forward network: two products, three with a gate."""
    product = linear(rows, features, hidden)
    return product + product + product if use_gate else product + product
