"""Which parameters a phase of training moves; the others stand still."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import jax

    from supernets.weights import Params

Trains = Literal["all", "scales", "adapters"]
"""All; or, while all else is frozen, the scales and zero points of quantised weights,
or their adapters (LLM-QFA, Yi 2024, section 3.2)."""

SCALES = frozenset({"log_scale", "zero_point"})
"""Names of the parameters that say how weights are rounded."""

NAMES = {
    "scales": SCALES,
    "adapters": frozenset({"adapter_down", "adapter_up"}),
}


def frozen_but(params: "Params", trains: Trains) -> "Params":
    """Returns parameters of which only some have a gradient.

    Raises:
        ValueError: If there are none of them.
    """
    if trains == "all":
        return params
    import jax

    found: list[bool] = []

    def one(path: tuple[object, ...], leaf: "jax.Array") -> "jax.Array":
        moves = is_trained(path, trains)
        found.append(moves)
        return leaf if moves else jax.lax.stop_gradient(leaf)

    held = jax.tree.map_with_path(one, params)
    if not any(found):
        raise ValueError(
            f"a phase trains {trains!r}, of which the model has none: give it a "
            "precision that has, or let the phase train 'all'"
        )
    return held


def only_trained(active: "Params | None", trains: Trains) -> "Params | None":
    """Returns which entries move of those that a step uses.

    Args:
        active: Which it uses, in the structure of the parameters; ``None`` if all.
        trains: What its phase trains.
    """
    if active is None:
        return None
    import jax
    import jax.numpy as jnp

    def one(path: tuple[object, ...], leaf: "jax.Array") -> "jax.Array":
        return leaf if is_trained(path, trains) else jnp.zeros_like(leaf)

    return jax.tree.map_with_path(one, active)


def is_trained(path: tuple[object, ...], trains: Trains) -> bool:
    """Returns whether the parameter at a path in a tree moves."""
    if trains == "all":
        return True
    return bool(NAMES[trains] & names_in(path))


def names_in(path: tuple[object, ...]) -> set[str]:
    """Returns the names that lead to a parameter, of its path in a tree."""
    return {str(getattr(part, "key", "")) for part in path}
