"""Computing layers again in the backward pass, so that less is kept of the forward."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from flax import nnx

from supernets.computing import Remat
from supernets.weights import Params


def compiler_options(remat: Remat, platform: str) -> dict[str, str]:
    """Returns what the compiler must be told, so that nothing is kept after all.

    Barriers keep it from finding that a value was computed before. XLA drops them when
    it compiles for a CPU, and then computes nothing again.

    Args:
        remat: What is computed again.
        platform: Of the devices that run the program.
    """
    if remat == "nothing" or platform != "cpu":
        return {}
    return {"xla_disable_hlo_passes": "cse_barrier_expander"}


class Recomputed(nnx.Module):
    """A layer that is run once more when its gradient is taken.

    Args:
        layer: Which.
        saved: Says which values are kept nevertheless; none without it.
    """

    def __init__(
        self, layer: nnx.Module, saved: Callable[..., bool] | None = None
    ) -> None:
        self.layer = layer
        self.saved = saved

    def __call__(self, *inputs: Any, **static: Any) -> Any:  # noqa: ANN401 - any layer
        """Runs the layer.

        Args:
            *inputs: Trees of arrays.
            **static: Values that are known when the program is traced.
        """
        graph, params = nnx.split(self.layer)

        @functools.partial(jax.checkpoint, policy=self.saved)
        def run(params: Params, *inputs: Any) -> Any:  # noqa: ANN401 - any layer
            return nnx.merge(graph, params)(*inputs, **static)

        return run(params, *inputs)


def recompute(supernet: nnx.Module, remat: Remat) -> None:
    """Makes all layers of a supernet `Recomputed`, in place.

    Layers are the modules in its lists (`flax.nnx.List`), not in lists within them.

    Args:
        supernet: Made for one trace, since paths of its parameters change.
        remat: What is computed again.

    Raises:
        ValueError: If layers are to be, and it has none.
    """
    if remat == "nothing":
        return
    saved = {
        "layers": None,
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    }[remat]
    stacks = list(_stacks(supernet))
    if not stacks:
        raise ValueError(
            f"{type(supernet).__name__} has no list of layers (flax.nnx.List) to "
            f"compute again; let remat be 'nothing', got {remat!r}"
        )
    for stack in stacks:
        for index, layer in enumerate(stack):
            stack[index] = Recomputed(layer, saved)


def _stacks(supernet: nnx.Module) -> Iterator[nnx.List[nnx.Module]]:
    """Yields the outermost lists of modules."""

    def depth(found: tuple[tuple[object, ...], nnx.Module]) -> int:
        return len(found[0])

    found: list[tuple[object, ...]] = []
    for path, node in sorted(nnx.iter_modules(supernet), key=depth):
        inner = any(path[: len(outer)] == outer for outer in found)
        if isinstance(node, nnx.List) and not inner and _all_modules(node):
            found.append(path)
            yield node


def _all_modules(nodes: Sequence[object]) -> bool:
    return all(isinstance(node, nnx.Module) for node in nodes)
