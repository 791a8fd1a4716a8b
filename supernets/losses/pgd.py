"""Adversarial inputs by projected gradient ascent."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pgd:
    """Projected gradient ascent in the maximum norm (PGD, Madry 2018, section 2.1).

    It starts at a random point of the ball around the inputs and climbs along the signs
    of the gradient. Distances are in the unit of the inputs. The defaults are those of
    ProARD (arXiv 2506.07666) for images in 0..1, which starts nearer to the inputs.

    For robust evaluation, attack the loss on the data of a subnet that is trained:

        x = Pgd().attack(lambda x: data_loss(subnet(x).logits, targets), inputs, key)

    Raises:
        ValueError: If a distance or the number of steps is negative, or if the range
            of values is empty.
    """

    epsilon: float = 8 / 255
    """Most that an entry of the input changes."""
    step_size: float = 2 / 255
    """How far an entry moves in a step."""
    steps: int = 10
    """Steps, each of which costs the subnet a pass forward and one back."""
    low: float = 0.0
    """Smallest value that inputs may have."""
    high: float = 1.0
    """Largest value that inputs may have."""

    def __post_init__(self) -> None:
        for name in ("epsilon", "step_size", "steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)}"
                )
        if not self.low < self.high:
            raise ValueError(
                f"low must be below high, got {self.low} and {self.high}: they are the "
                "range of the inputs' values"
            )

    def attack(
        self,
        objective: "Callable[[jax.Array], jax.Array]",
        inputs: "jax.Array",
        key: "jax.Array",
    ) -> "jax.Array":
        """Returns inputs near the given ones at which the objective is high.

        They carry no gradient. An entry that is outside the range of values already
        moves towards it only.

        Args:
            objective: What an adversary wants to be large, as a scalar; a function of
                the inputs, with no gradient to weights (`Network.detached`).
            inputs: Real numbers of any shape, as images
                ``(batch, height, width, channels)``.
            key: Of the random start.

        Raises:
            ValueError: If the inputs are not real numbers: tokens have no neighbours.
        """
        # Imported here so that reading a recipe starts no array library.
        import jax
        import jax.numpy as jnp

        if not jnp.issubdtype(inputs.dtype, jnp.floating):
            raise ValueError(
                "adversaries change inputs by small amounts, which needs real numbers "
                f"such as images; got {inputs.dtype}"
            )
        inputs = jax.lax.stop_gradient(inputs)
        lower = jnp.clip(inputs - self.epsilon, min=jnp.minimum(inputs, self.low))
        upper = jnp.clip(inputs + self.epsilon, max=jnp.maximum(inputs, self.high))

        def climb(_: jax.Array, x: jax.Array) -> jax.Array:
            slope = jnp.sign(jax.grad(objective)(x))
            return jnp.clip(x + self.step_size * slope, lower, upper)

        reach = self.epsilon
        start = inputs + jax.random.uniform(
            key, inputs.shape, inputs.dtype, minval=-reach, maxval=reach
        )
        x = jax.lax.fori_loop(0, self.steps, climb, jnp.clip(start, lower, upper))
        return jax.lax.stop_gradient(x)
