"""How logits become the mixture that a step runs: samplings as plain values.

=============== ============================================== ====================
`Softmax`       the probabilities themselves                   DARTS, Liu 2019
`Sparsemax`     the nearest point of the simplex, often sparse Martins 2016
`Dirichlet`     a draw around them                             DrNAS, Chen 2021
`Gumbel`        one choice, with a straight-through gradient   GDAS, Dong 2019
`SinglePath`    one choice, all alike; nothing to learn from   SPOS, Guo 2020
=============== ============================================== ====================
"""

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import jax


@runtime_checkable
class Sampling(Protocol):
    """A sampling, as a frozen dataclass of plain values.

    Logits are those of one decision, of shape ``(..., choices)``, and so is what it
    gives. Progress goes from 0 at the first step to 1 at the last.

    Attributes:
        learns: Whether what is drawn depends on the logits.
        hard: Whether every draw is one choice.
    """

    learns: ClassVar[bool]
    hard: ClassVar[bool]

    def draw(
        self, logits: "jax.Array", progress: "jax.Array", *, key: "jax.Array"
    ) -> "jax.Array":
        """Returns the weights of the mixture that a step runs, which sum to 1."""
        ...

    def mean(self, logits: "jax.Array", progress: "jax.Array") -> "jax.Array":
        """Returns the expectation of a draw."""
        ...

    def penalty(self, logits: "jax.Array") -> "jax.Array":
        """Returns what is added to the loss, in nats; a scalar."""
        ...


def _no_penalty() -> "jax.Array":
    # Imported here, as below: reading a recipe starts no array library.
    import jax.numpy as jnp

    return jnp.zeros(())


def _annealed(ends: tuple[float, float], progress: "jax.Array") -> "jax.Array":
    """Returns the temperature, which goes along a straight line (GDAS)."""
    return ends[0] + (ends[1] - ends[0]) * progress


def _require_temperatures(ends: tuple[float, float]) -> None:
    for temperature in ends:
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperatures must be positive, got {ends}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Softmax:
    """The probabilities themselves (DARTS, Liu 2019, Eq. 2), sharpened at the end.

    The best mixture need not be near the best subnet: a falling temperature drives it
    to one. The paper keeps it at 1.

    Raises:
        ValueError: If a temperature is not positive.
    """

    learns: ClassVar[bool] = True
    hard: ClassVar[bool] = False

    temperature: tuple[float, float] = (1.0, 0.1)
    """What logits are divided by, at the first step and at the last."""

    def __post_init__(self) -> None:
        _require_temperatures(self.temperature)

    def draw(
        self,
        logits: "jax.Array",
        progress: "jax.Array",
        *,
        key: "jax.Array",  # noqa: ARG002 - samplings are called alike
    ) -> "jax.Array":
        """Returns the probabilities."""
        return self.mean(logits, progress)

    def mean(self, logits: "jax.Array", progress: "jax.Array") -> "jax.Array":
        """Returns the probabilities."""
        import jax

        return jax.nn.softmax(logits / _annealed(self.temperature, progress))

    def penalty(self, logits: "jax.Array") -> "jax.Array":  # noqa: ARG002
        """Returns zero."""
        return _no_penalty()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sparsemax:
    """The point of the simplex that is nearest to the logits (Martins 2016, Eq. 1).

    The code of TangleNAS mixes entangled weights so. Choices far behind the best get
    no weight, and no gradient until they are nearer.

    Raises:
        ValueError: If a temperature is not positive.
    """

    learns: ClassVar[bool] = True
    hard: ClassVar[bool] = False

    temperature: tuple[float, float] = (1.0, 0.1)
    """What logits are divided by, at the first step and at the last."""

    def __post_init__(self) -> None:
        _require_temperatures(self.temperature)

    def draw(
        self,
        logits: "jax.Array",
        progress: "jax.Array",
        *,
        key: "jax.Array",  # noqa: ARG002 - samplings are called alike
    ) -> "jax.Array":
        """Returns the projection."""
        return self.mean(logits, progress)

    def mean(self, logits: "jax.Array", progress: "jax.Array") -> "jax.Array":
        """Returns the projection (Algorithm 1)."""
        import jax.numpy as jnp

        z = logits / _annealed(self.temperature, progress)
        descending = -jnp.sort(-z, axis=-1)
        sums = jnp.cumsum(descending, axis=-1)
        rank = jnp.arange(1, z.shape[-1] + 1, dtype=z.dtype)
        rank = rank.reshape((1,) * (z.ndim - 1) + rank.shape)
        inside = 1 + rank * descending > sums
        k = jnp.sum(inside, axis=-1, keepdims=True)
        tau = (jnp.take_along_axis(sums, k - 1, axis=-1) - 1) / k.astype(z.dtype)
        return jnp.maximum(z - tau, 0.0)

    def penalty(self, logits: "jax.Array") -> "jax.Array":  # noqa: ARG002
        """Returns zero."""
        return _no_penalty()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dirichlet:
    """A draw from a Dirichlet distribution of learned concentration (DrNAS, Chen 2021).

    The concentration is ``elu(logits) + 1`` (section 3.1), and the gradient that of the
    draw itself, not of its probability.

    Raises:
        ValueError: If the strength is negative.
    """

    learns: ClassVar[bool] = True
    hard: ClassVar[bool] = False

    regularizer: Literal["kl", "l2"] = "kl"
    """What keeps the concentration near 1: its Kullback-Leibler divergence from the
    uniform distribution on the simplex (Eq. 5), or its squared distance from 1."""
    strength: float = 1e-3
    """Weight of the regulariser; 0 for none."""

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise ValueError(f"strength must not be negative, got {self.strength}")

    def draw(
        self,
        logits: "jax.Array",
        progress: "jax.Array",  # noqa: ARG002 - samplings are called alike
        *,
        key: "jax.Array",
    ) -> "jax.Array":
        """Returns a draw with a gradient along its path."""
        import jax

        return jax.random.dirichlet(key, _concentration(logits))

    def mean(
        self,
        logits: "jax.Array",
        progress: "jax.Array",  # noqa: ARG002
    ) -> "jax.Array":
        """Returns the shares of the concentration."""
        concentration = _concentration(logits)
        return concentration / concentration.sum(-1, keepdims=True)

    def penalty(self, logits: "jax.Array") -> "jax.Array":
        """Returns the regulariser, summed over decisions."""
        if not self.strength:
            return _no_penalty()
        concentration = _concentration(logits)
        if self.regularizer == "l2":
            return self.strength * ((concentration - 1.0) ** 2).sum()
        return self.strength * _divergence_from_uniform(concentration).sum()


SMALLEST_CONCENTRATION = 1e-2
"""Draws of less are one-hot in float32, and their gradient is not a number."""


def _concentration(logits: "jax.Array") -> "jax.Array":
    import jax
    import jax.numpy as jnp

    return jnp.maximum(jax.nn.elu(logits) + 1.0, SMALLEST_CONCENTRATION)


def _divergence_from_uniform(concentration: "jax.Array") -> "jax.Array":
    """Returns the divergence of a Dirichlet distribution from that of ones, in nats."""
    from jax.scipy.special import digamma, gammaln

    total = concentration.sum(-1)
    log_density = gammaln(total) - gammaln(concentration).sum(-1)
    of_ones = math.lgamma(concentration.shape[-1])
    surplus = digamma(concentration) - digamma(total)[..., None]
    return log_density - of_ones + ((concentration - 1.0) * surplus).sum(-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gumbel:
    """One choice, drawn by its probability (GDAS, Dong 2019, Eq. 3 and 4).

    Its gradient is that of the soft choice (straight through), so what runs is always a
    subnet.

    Raises:
        ValueError: If a temperature is not positive.
    """

    learns: ClassVar[bool] = True
    hard: ClassVar[bool] = True

    temperature: tuple[float, float] = (10.0, 0.1)
    """Of the soft choice, at the first step and at the last."""

    def __post_init__(self) -> None:
        _require_temperatures(self.temperature)

    def draw(
        self, logits: "jax.Array", progress: "jax.Array", *, key: "jax.Array"
    ) -> "jax.Array":
        """Returns a one-hot draw with the gradient of a soft one."""
        import jax

        noisy = jax.nn.log_softmax(logits) + jax.random.gumbel(key, logits.shape)
        soft = jax.nn.softmax(noisy / _annealed(self.temperature, progress))
        hard = jax.nn.one_hot(noisy.argmax(-1), logits.shape[-1], dtype=logits.dtype)
        # In this order, so that what runs is one-hot to the last bit.
        return hard + (soft - jax.lax.stop_gradient(soft))

    def mean(
        self,
        logits: "jax.Array",
        progress: "jax.Array",  # noqa: ARG002 - samplings are called alike
    ) -> "jax.Array":
        """Returns the probabilities."""
        import jax

        return jax.nn.softmax(logits)

    def penalty(self, logits: "jax.Array") -> "jax.Array":  # noqa: ARG002
        """Returns zero."""
        return _no_penalty()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinglePath:
    """One choice, each as probable (SPOS, Guo 2020): for weights, not architectures."""

    learns: ClassVar[bool] = False
    hard: ClassVar[bool] = True

    def draw(
        self,
        logits: "jax.Array",
        progress: "jax.Array",  # noqa: ARG002 - samplings are called alike
        *,
        key: "jax.Array",
    ) -> "jax.Array":
        """Returns a one-hot draw without a gradient."""
        import jax

        *decisions, choices = logits.shape
        picked = jax.random.randint(key, tuple(decisions), 0, choices)
        return jax.nn.one_hot(picked, choices, dtype=logits.dtype)

    def mean(
        self,
        logits: "jax.Array",
        progress: "jax.Array",  # noqa: ARG002
    ) -> "jax.Array":
        """Returns equal probabilities."""
        import jax.numpy as jnp

        return jnp.full_like(logits, 1 / logits.shape[-1])

    def penalty(self, logits: "jax.Array") -> "jax.Array":  # noqa: ARG002
        """Returns zero."""
        return _no_penalty()


SamplingSpec = Softmax | Sparsemax | Dirichlet | Gumbel | SinglePath
"""Every sampling that a recipe may name."""
