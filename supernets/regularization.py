"""What training adds to the loss on data: noise, and a shape for weights."""

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import jax

    from supernets.weights import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regularization:
    """Noise on the largest subnet (BigNAS, Yu 2020), and a penalty on all of them.

    Smaller subnets underfit rather than overfit: noise only makes them worse. The
    penalty is for weights that are spread evenly, which few bits hurt least (EQ-Net, Xu
    2023, WDR loss; `supernets.quantization.distribution`).

    Raises:
        ValueError: If a rate is out of range, or a share negative.
    """

    dropout: float = 0.0
    """Probability that an embedded feature is set to zero."""
    drop_path: float = 0.0
    """Probability that the last layer is skipped for an example; layers before it are
    skipped less, in proportion to their position (stochastic depth, Huang 2016)."""

    skewness: float = 0.0
    """Share of the squared skewness of quantised weights in the loss; the code of
    EQ-Net has 1."""
    kurtosis: float = 0.0
    """Share of the squared distance of their kurtosis from that of an even spread; the
    code of EQ-Net has 0.015."""

    def __post_init__(self) -> None:
        for name in ("dropout", "drop_path"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        for name in ("skewness", "kurtosis"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)}"
                )

    @property
    def noisy(self) -> bool:
        """Whether there is noise to make."""
        return bool(self.dropout or self.drop_path)

    def penalty(self, params: "Params") -> "jax.Array | float":
        """Returns what the shape of quantised weights adds to the loss.

        Raises:
            ValueError: If a share is positive, and no weight is quantised.
        """
        if not (self.skewness or self.kurtosis):
            return 0.0
        from supernets.quantization.distribution import (
            elastic_weights,
            weight_distribution_loss,
        )

        return weight_distribution_loss(
            elastic_weights(params), skewness=self.skewness, kurtosis=self.kurtosis
        )

    def noise(self, key: "jax.Array") -> "Noise | None":
        """Returns the noise of one pass, or none if there is none to make."""
        if not self.noisy:
            return None
        return Noise(key, self.dropout, self.drop_path)


class Noise(NamedTuple):
    """The noise of one pass: rates as in `Regularization`, and where it comes from."""

    key: "jax.Array"
    dropout: float
    drop_path: float


def with_dropout(x: "jax.Array", noise: Noise | None) -> "jax.Array":
    """Sets entries to zero at the rate of the noise; others grow to make up for it."""
    if noise is None or not noise.dropout:
        return x
    import jax
    import jax.numpy as jnp

    kept = jax.random.bernoulli(
        jax.random.fold_in(noise.key, 0), 1 - noise.dropout, x.shape
    )
    return jnp.where(kept, x / (1 - noise.dropout), 0)


def with_drop_path(
    before: "jax.Array",
    after: "jax.Array",
    noise: Noise | None,
    *,
    layer: int,
    layers: int,
    tokens: int,
) -> "jax.Array":
    """Skips what a layer added, for some of the examples (Huang 2016, Eq. 2 and 4).

    What is left grows to make up for it, so nothing changes when there is no noise.

    Args:
        before: What the layer was given, ``(batch * tokens, features)``.
        after: What it gave.
        noise: Of the pass.
        layer: Its position, from 0.
        layers: How many there are.
        tokens: Rows of one example.
    """
    if noise is None or not noise.drop_path:
        return after
    import jax
    import jax.numpy as jnp

    rate = noise.drop_path * (layer + 1) / layers
    key = jax.random.fold_in(noise.key, layer + 1)
    kept = jax.random.bernoulli(key, 1 - rate, (before.shape[0] // tokens, 1))
    kept = jnp.repeat(kept, tokens, axis=0)
    return before + jnp.where(kept, (after - before) / (1 - rate), 0)
