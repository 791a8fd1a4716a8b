"""Standing around the layers of a module while something is learned of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from flax import nnx

from supernets.layers.transformer import ElasticBlock

Wrapper = TypeVar("Wrapper", bound=nnx.Module)


@contextmanager
def wrapped_blocks(
    module: nnx.Module, wrap: Callable[[ElasticBlock], Wrapper]
) -> Iterator[list[Wrapper]]:
    """Puts something around every layer of a module's stacks, until the block ends.

    Args:
        module: With stacks of layers; those that are no `ElasticBlock` stay bare.
        wrap: Given a layer, what is called in its place.

    Yields:
        What was put around each, in order.
    """
    stacks = [s for _, s in nnx.iter_modules(module) if isinstance(s, nnx.List)]
    blocks = [
        (stack, index, layer, wrap(layer))
        for stack in stacks
        for index, layer in enumerate(stack)
        if isinstance(layer, ElasticBlock)
    ]
    for stack, index, _, wrapper in blocks:
        stack[index] = wrapper
    try:
        yield [wrapper for *_, wrapper in blocks]
    finally:
        for stack, index, layer, _ in blocks:
            stack[index] = layer
