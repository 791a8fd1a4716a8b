"""Running the subnet of a traced genotype with one compiled program.

Choices of each layer are switched inside the operations (`kernels.switched`). Choices
of the whole network, as its width, shape every activation: they are static in the
branches of one outer switch, so that no activation is padded. One program with an outer
switch costs what one program for each width does, and is one program.

A branch is a whole network to compile. Where a network makes many choices once, as the
width and the size of each of several heads, the first of its space are static and the
others are switched inside as well. So a space names first what shapes the most.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int, PyTree

from kernels.dispatch import Decision, forced, recorded
from kernels.executions import Execution
from kernels.extents import Fixed
from kernels.switched import batchable
from search.space import Choice, Space
from supernets.lowering import Extents, indexed_extents, size_choices, sizes_of

MOST_BRANCHES = 8
"""Branches of the outer switch; each is a whole network to compile."""


def run_subnet(
    space: Space,
    genotype: Int[Array, " genes"],
    function: Callable[..., PyTree],
    *operands: PyTree,
    execution: Execution = "auto",
) -> PyTree:
    """Returns ``function(extents, *operands)`` for the extents of a genotype.

    Under `jax.vmap` over genotypes it runs masked, at the cost of the largest subnet.

    Args:
        space: The search space.
        genotype: Which subnet.
        function: Takes extents and the operands; returns arrays whose shapes do not
            depend on the extents. Gradients are best taken inside it.
        *operands: What else it reads. Arrays that may be mapped or differentiated must
            be among them, not closed over.
        execution: How; see `kernels.dispatch`.

    Raises:
        ExecutionError: If a forced execution does not apply to an operation.
    """

    def masked(genotype: Int[Array, " genes"], *operands: PyTree) -> PyTree:
        return function(indexed_extents(space, genotype, "masked"), *operands)

    if forced(execution) == "masked":
        return masked(genotype, *operands)

    def switch(genotype: Int[Array, " genes"], *operands: PyTree) -> PyTree:
        return _switch(space, genotype, function, operands, execution)

    return batchable(switch, masked)(genotype, *operands)


def outer_branches(space: Space) -> list[dict[str, int]]:
    """Returns the sizes that are static in each branch of the outer switch.

    There is a single branch, with none, where the first choice alone has too many.
    """
    static = _static(space)
    names = [choice.name for choice in static]
    sizes = itertools.product(*(sizes_of(choice) for choice in static))
    return [dict(zip(names, row, strict=True)) for row in sizes]


def _static(space: Space) -> list[Choice]:
    """Returns the choices of sizes that the outer switch is over.

    Of those that the whole network makes once the first ones, as many as there may be
    branches for.
    """
    static: list[Choice] = []
    branches = 1
    for choice in size_choices(space):
        if choice.per_layer:
            continue
        branches *= len(choice.values)
        if branches > MOST_BRANCHES:
            break
        static.append(choice)
    return static


def _switch(
    space: Space,
    genotype: Int[Array, " genes"],
    function: Callable[..., PyTree],
    operands: tuple[PyTree, ...],
    execution: Execution,
) -> PyTree:
    branches = outer_branches(space)

    def branch(fixed: dict[str, int]) -> Callable[..., PyTree]:
        def run(genotype: Int[Array, " genes"], *operands: PyTree) -> PyTree:
            extents: Extents = {
                **indexed_extents(space, genotype, execution),
                **{name: Fixed(size) for name, size in fixed.items()},
            }
            return function(extents, *operands)

        return run

    calls = [branch(fixed) for fixed in branches]
    if len(calls) == 1:
        return calls[0](genotype, *operands)
    static = _static(space)
    counts = [len(choice.values) for choice in static]
    table = jnp.asarray(np.arange(len(calls), dtype=np.int32).reshape(counts))
    picked = tuple(genotype[space.slices[choice.name].start] for choice in static)
    return jax.lax.switch(table[picked], calls, genotype, *operands)


def decisions(
    supernet: nnx.Module,
    space: Space,
    *inputs: PyTree,
    execution: Execution = "auto",
) -> list[Decision]:
    """Returns how each operation of a traced subnet would run; nothing is computed.

    Args:
        supernet: Takes inputs, then extents. It may have shapes in place of parameters.
        space: Its search space.
        *inputs: Arrays or their shapes.
        execution: How; see `kernels.dispatch`.
    """
    graph, held = nnx.split(supernet)

    def traced(genotype: Int[Array, " genes"], *operands: PyTree) -> PyTree:
        def run(extents: Extents, held: PyTree, *inputs: PyTree) -> PyTree:
            return nnx.merge(graph, held)(*inputs, extents)

        return run_subnet(space, genotype, run, *operands, execution=execution)

    with recorded() as made:
        genotype = jax.ShapeDtypeStruct((space.genes,), np.int32)
        jax.eval_shape(traced, genotype, held, *inputs)
    return made
