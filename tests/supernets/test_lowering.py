"""From genotypes to extents."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.extents import Fixed, Indexed, active_size
from search.space import Choice, Depth, Space
from supernets.decoder.spec import Decoder
from supernets.lowering import (
    at_layer,
    extent_of,
    fixed_extents,
    full_size,
    indexed_extents,
    outside_layers,
)
from tests.supernets.toy import decoder_arguments

WIDTH = Choice("width", (4, 8))
FFN = Choice("ffn", (1, 2, 3), per_layer=True)


def sizes(extents):
    """What the extents say, as plain numbers."""
    return {
        name: [int(active_size(e)) for e in extent]
        if isinstance(extent, tuple)
        else int(active_size(extent))
        for name, extent in extents.items()
    }


@settings(max_examples=15)
@given(
    decoder_arguments(layers=3),
    st.sampled_from(["prefix", "spaced", "free"]),
    st.integers(0, 99),
)
def test_both_lowerings_say_what_the_architecture_says(arguments, rule, seed):
    space = Decoder(**arguments, depth_rule=rule).space()
    genotype = space.sample(1, np.random.default_rng(seed))[0]
    architecture = space.decode(genotype)
    fixed = fixed_extents(space, genotype)
    lowered = sizes(fixed)
    assert lowered == sizes(indexed_extents(space, jnp.asarray(genotype)))
    assert lowered["width"] == architecture["width"]
    running = [layer for layer, on in enumerate(lowered["depth"]) if on]
    assert tuple(running) == architecture.layers
    for name in ("heads", "ffn"):
        assert tuple(lowered[name][layer] for layer in running) == architecture[name]
    for layer in range(space.layers):
        seen = at_layer(fixed, layer)
        assert seen["width"] is fixed["width"]
        assert seen["ffn"] is fixed["ffn"][layer]


@pytest.mark.parametrize(
    ("rule", "depth_genes", "running"),
    [
        ("prefix", [1], [1, 1, 0, 0]),
        ("spaced", [1], [1, 0, 0, 1]),
        ("free", [0, 1, 1, 0], [0, 1, 1, 0]),
    ],
)
def test_gates_follow_the_rule_for_depth(rule, depth_genes, running):
    space = Space((FFN,), 4, Depth((1, 2, 4), rule))
    genotype = np.asarray([*depth_genes, 0, 0, 0, 0], np.int32)
    for extents in (
        fixed_extents(space, genotype),
        indexed_extents(space, jnp.asarray(genotype)),
    ):
        assert sizes(extents)["depth"] == running


def test_without_a_depth_every_gate_is_static():
    space = Space((WIDTH,), 2)
    for extents in (
        fixed_extents(space, space.largest),
        indexed_extents(space, jnp.asarray(space.largest)),
    ):
        assert extents["depth"] == (Fixed(1), Fixed(1))


def test_choices_that_are_not_sizes_are_left_out():
    others = (
        Choice("activation", ("gelu", "relu")),
        Choice("bias", (False, True)),
        Choice("dropout", (0.0, 0.5), per_layer=True),
    )
    space = Space((*others, WIDTH), 2)
    genotype = np.asarray([1, 1, 1, 0, 1], np.int32)
    for extents in (
        fixed_extents(space, genotype),
        indexed_extents(space, jnp.asarray(genotype)),
    ):
        assert extents.keys() == {"depth", "width"}
        assert sizes(extents)["width"] == 8


def test_traced_extents_hold_the_gene_and_all_sizes():
    space = Space((WIDTH, FFN), 2, Depth((1, 2)))
    genotype = jnp.asarray([1, 0, 2, 1])
    extents = indexed_extents(space, genotype)
    kinds = [extents["width"], *extents["ffn"], *extents["depth"]]
    assert all(isinstance(extent, Indexed) for extent in kinds)
    assert [extent.choices for extent in kinds] == [
        WIDTH.values,
        FFN.values,
        FFN.values,
        (0, 1),
        (0, 1),
    ]
    assert [int(extent.index) for extent in kinds] == [0, 2, 1, 1, 1]


def test_outside_the_layers_there_is_no_gate_and_nothing_per_layer():
    space = Space((WIDTH, FFN), 2, Depth((1, 2), "free"))
    genotype = np.asarray([0, 1, 1, 0, 0], np.int32)
    outer = outside_layers(fixed_extents(space, genotype))
    assert outer == {"width": Fixed(8), "depth": Fixed(1)}


def test_a_dimension_is_a_size_or_a_choice_that_the_extents_hold():
    extents = {"width": Fixed(4), "depth": Fixed(1)}
    assert extent_of(3, extents) == Fixed(3)
    assert extent_of(WIDTH, extents) == Fixed(4)
    with pytest.raises(KeyError, match=r"no extent 'ffn'; there are \['width', 'dep"):
        extent_of(FFN, extents)


@pytest.mark.parametrize("values", [("a", "b"), (False, True), (0.5, 1.0)])
def test_a_dimension_is_stored_at_its_largest_size(values):
    assert full_size(3) == 3
    assert full_size(WIDTH) == 8
    with pytest.raises(TypeError, match="choice 'odd' is not a size"):
        full_size(Choice("odd", values))
