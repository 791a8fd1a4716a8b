"""Elastic nested feed-forward networks: a smaller one is a prefix of a larger one."""

import dataclasses
import math
from typing import NamedTuple

import jax
from jaxtyping import Array, Float
from typing_extensions import override

from kernels import dispatch, parallel, tiles
from kernels.extents import Extent, Fixed, largest_size, restrict_axes
from kernels.operation import Call, Extents, Operation, Sizes, active, prefix, static
from kernels.quantization.roundings import (
    Rounding,
    refusal,
    rounded_by,
    while_running,
)


class FeedForwardWeights(NamedTuple):
    """Full-size weights; without a gate the network is plain.

    What they multiply may be rounded: ``inputs`` are what up and gate read, ``hidden``
    what down does.
    """

    up: Float[Array, "features hidden"]
    down: Float[Array, "hidden features"]
    gate: Float[Array, "features hidden"] | None = None
    inputs: Rounding | None = None
    hidden: Rounding | None = None


UNIT_AXES = {"up": 1, "down": 0, "gate": 1}
"""The axis of each weight that holds the hidden units."""


def feed_forward(
    x: Float[Array, "rows features"],
    weights: FeedForwardWeights,
    features: Extent,
    hidden: Extent,
) -> Float[Array, "rows features"]:
    """Applies the first ``hidden`` units of a nested network (MatFormer 2023, Eq. 1).

    Gated: ``(silu(x G) * x U) D`` (Shazeer 2020, Eq. 6). Plain: ``gelu(x U) D``.
    Gate, up and down are cut by the same prefix, and nothing is rescaled. Size 0 skips
    the operation.
    """
    return dispatch.run(Call(FeedForward(), (features, hidden), weights), x)


Units = Float[Array, "rows hidden"]
Saved = tuple[Units, Units | None]


@dataclasses.dataclass(frozen=True)
class FeedForward(Operation):
    """See `feed_forward`. Its extents are those of the features and the hidden units.

    It keeps what enters the activation: its output is cheaper made again than kept.
    """

    @override
    def masked(self, extents: Extents, x: Array, weights: FeedForwardWeights) -> Array:
        features, hidden = extents

        def into(weight: Array) -> Array:
            return restrict_axes(weight, {0: features, 1: hidden})

        masked = FeedForwardWeights(
            into(weights.up),
            restrict_axes(weights.down, {0: hidden, 1: features}),
            None if weights.gate is None else into(weights.gate),
            while_running(weights.inputs, extents),
            while_running(weights.hidden, extents),
        )
        return static(self, masked.up.shape, x, masked)

    @override
    def forward(
        self, sizes: Sizes, x: Array, weights: FeedForwardWeights
    ) -> tuple[Array, Saved]:
        z, cut = _active(sizes, x, weights)
        z = rounded_by(z, cut.inputs)
        saved = z @ cut.up, None if cut.gate is None else z @ cut.gate
        return rounded_by(activate(*saved), cut.hidden) @ cut.down, saved

    @override
    def backward(
        self,
        sizes: Sizes,
        x: Array,
        weights: FeedForwardWeights,
        saved: Saved,
        gradient: Array,
    ) -> tuple[Array, FeedForwardWeights]:
        x, cut = _active(sizes, x, weights)
        z, pull_inputs = jax.vjp(rounded_by, x, cut.inputs)
        y_grad = prefix(gradient, None, sizes[0])
        units, pull = jax.vjp(activate, *saved)
        units, pull_hidden = jax.vjp(rounded_by, units, cut.hidden)
        units_grad, hidden_grad = pull_hidden(y_grad @ cut.down.T)
        up_grad, gate_grad = pull(units_grad)
        x_grad = up_grad @ cut.up.T
        gate_weight_grad = None
        if cut.gate is not None:
            x_grad = x_grad + gate_grad @ cut.gate.T
            gate_weight_grad = z.T @ gate_grad
        x_grad, inputs_grad = pull_inputs(x_grad)
        return x_grad, FeedForwardWeights(
            z.T @ up_grad,
            units.T @ y_grad,
            gate_weight_grad,
            inputs_grad,
            hidden_grad,
        )

    @override
    def tiled(self, extents: Extents, x: Array, weights: FeedForwardWeights) -> Array:
        # Imported where used: these kernels take the weights that this module defines.
        from kernels.pallas.feed_forward import prefix_feed_forward

        largest = tuple(largest_size(extent) for extent in extents)
        _, cut = _active(largest, x, weights)
        sizes = tuple(tiles.active_count(extent) for extent in extents)
        return prefix_feed_forward(x, cut, *sizes, interpret=tiles.interpreted())

    @override
    def refuses_tiles(self, x: Array, weights: FeedForwardWeights) -> str | None:
        rounds = refusal(weights.inputs, weights.hidden)
        return rounds or tiles.refusal(x, *weights.up.shape)

    @override
    def work(self, sizes: Sizes, x: Array, weights: FeedForwardWeights) -> int:
        products = 2 if weights.gate is None else 3
        return products * x.shape[0] * math.prod(sizes)

    @override
    def split(self, weights: FeedForwardWeights) -> FeedForwardWeights:
        return parallel.split(weights, UNIT_AXES)


def _active(
    sizes: Sizes, x: Array, weights: FeedForwardWeights
) -> tuple[Array, FeedForwardWeights]:
    features, hidden = sizes
    extents = Fixed(features), Fixed(hidden)
    cut = FeedForwardWeights(
        active(weights.up, x, features, hidden),
        active(weights.down, x, hidden, features),
        None if weights.gate is None else active(weights.gate, x, features, hidden),
        while_running(weights.inputs, extents),
        while_running(weights.hidden, extents),
    )
    return prefix(x, None, features), cut


def activate(up: Units, gate: Units | None) -> Units:
    """Returns what the down projection reads, of what enters the activation."""
    return jax.nn.gelu(up) if gate is None else jax.nn.silu(gate) * up
