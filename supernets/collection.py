"""The search space of a module, collected from the elastic layers it is made of.

A choice is declared once and given to every layer it shapes; the space is what the
layers hold. So an axis cannot be in the space and in no layer by mistake, which would
train a static network and search nothing.
"""

from collections.abc import Iterator

from flax import nnx

from search.space import Choice, Depth, Rule, Space
from supernets.lowering import Scaled


def collect_space(
    module: nnx.Module,
    *,
    layers: int = 1,
    depth: Depth | None = None,
    rules: tuple[Rule, ...] = (),
) -> Space:
    """Returns the space of a module, its choices in the order they are met.

    Args:
        module: Made of elastic layers that share `Choice` objects.
        layers: Stored layers that per-layer choices are decided for.
        depth: How many of them run; ``None`` runs all.
        rules: Validity rules.

    Raises:
        ValueError: If layers disagree about the values of a choice, or hold none.
    """
    found: dict[str, Choice] = {}
    for owner, choice in _held(module):
        known = found.setdefault(choice.name, choice)
        if known != choice:
            raise ValueError(
                f"{owner} has {choice}, another layer has {known}: declare the choice "
                "once and give the same one to every layer"
            )
    if not found:
        raise ValueError(
            f"no layer of {type(module).__name__} is elastic: give a layer a Choice "
            "where it takes a size"
        )
    return Space(tuple(found.values()), layers=layers, depth=depth, rules=rules)


def require_used(space: Space, module: nnx.Module) -> None:
    """Makes sure that every choice of a space shapes some layer of the module.

    Raises:
        ValueError: If one does not, or a layer holds a choice the space lacks.
    """
    held = {choice for _, choice in _held(module)}
    for choice in space.choices:
        if choice not in held:
            raise ValueError(
                f"no layer of {type(module).__name__} uses {choice}: searching it "
                "would compare equal networks; give it to a layer or drop it"
            )
    if foreign := held - set(space.choices):
        raise ValueError(
            f"layers of {type(module).__name__} hold {sorted(foreign, key=str)}, which "
            f"the space lacks; it has {[choice.name for choice in space.choices]}"
        )


def _held(module: nnx.Module) -> Iterator[tuple[str, Choice]]:
    for _, node in nnx.iter_graph(module):
        if isinstance(node, nnx.Module):
            for value in vars(node).values():
                for choice in _choices(value):
                    yield type(node).__name__, choice


def _choices(value: object) -> Iterator[Choice]:
    """Returns the choices that an attribute of a layer is made of."""
    if isinstance(value, Choice):
        yield value
    elif isinstance(value, Scaled):
        yield from _choices((value.base, value.factor))
    elif isinstance(value, tuple):
        for part in value:
            yield from _choices(part)
