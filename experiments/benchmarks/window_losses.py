"""Losses of subnets on many windows, of which a few are evaluated at once."""

import functools
import math

import jax
import numpy as np
from jaxtyping import Float

from nas.data.dataset import Examples
from search.space import Genotypes
from supernets.evaluation import Evaluate
from supernets.weights import Params

AT_ONCE = 32
"""Windows that are evaluated at once; more take memory, not less time."""


def losses_of_parts(
    evaluate: Evaluate,
    params: Params,
    genotypes: Genotypes,
    data: Examples,
    parts: int = 1,
) -> Float[np.ndarray, "subnets parts"]:
    """Returns the loss of each subnet on each part of some windows, in nats.

    Args:
        evaluate: Of the network.
        params: Its weights.
        genotypes: Of the subnets.
        data: The windows; a part follows the other.
        parts: How many; they divide the windows.
    """
    windows = len(data.inputs)

    def piece(rows: np.ndarray) -> np.ndarray:
        taken = jax.tree.map(functools.partial(np.take, indices=rows, axis=0), data)
        return evaluate(params, genotypes, *taken)["loss"]

    at_once = math.gcd(windows // parts, AT_ONCE)
    pieces = np.arange(windows).reshape(-1, at_once)
    losses = np.stack([piece(rows) for rows in pieces], axis=1)
    return losses.reshape(len(genotypes), parts, -1).mean(2)
