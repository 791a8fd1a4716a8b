"""From genotypes to extents."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.extents import Fixed, Indexed, Mixed, active_size
from search.space import Choice, Depth, Space
from supernets.decoder.spec import Decoder
from supernets.lowering import (
    Scaled,
    at_layer,
    extent_of,
    fixed_extents,
    full_size,
    indexed_extents,
    mixed_extents,
    outside_layers,
)
from tests.kernels.comparison import assert_close
from tests.supernets.toy import decoder_arguments, one_hot_probabilities

WIDTH = Choice("width", (4, 8))
FFN = Choice("ffn", (1, 2, 3), per_layer=True)
RATIO = Choice("ratio", (7, 8), per_layer=True)


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
        mixed_extents(space, one_hot_probabilities(space, space.largest)),
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
        mixed_extents(space, one_hot_probabilities(space, genotype)),
        mixed_extents(space, {"width": jnp.asarray([0.0, 1.0])}),
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


def test_sizes_are_mixed_by_choice_and_by_layer():
    space = Space((WIDTH, FFN), 2)
    rows = jnp.asarray([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
    extents = mixed_extents(space, {"width": jnp.asarray([0.25, 0.75]), "ffn": rows})
    assert_close(active_size(extents["width"]), 7.0)
    assert_close([active_size(extent) for extent in extents["ffn"]], [1.75, 2.5])
    mixtures = [extents["width"], *extents["ffn"]]
    assert [m.name for m in mixtures] == ["width", "ffn", "ffn"]
    assert all(isinstance(m, Mixed) and not m.factors for m in mixtures)


def test_mixed_depth_follows_its_rule():
    p = jnp.asarray([0.5, 0.25, 0.25])
    prefix = mixed_extents(Space((), 4, Depth((1, 2, 4))), {"depth": p})
    assert prefix["depth"].choices == (1, 2, 4)
    assert_close(prefix["depth"].weights, p)
    assert at_layer(prefix, 3) == outside_layers(prefix) == {"depth": Fixed(1)}

    space = Space((), 4, Depth((1, 2, 4), "spaced"))
    spaced = mixed_extents(space, {"depth": p})
    gates = jnp.asarray([[0.0, 1.0], [0.75, 0.25], [0.75, 0.25], [0.5, 0.5]])
    assert_close(jnp.stack([gate.weights for gate in spaced["depth"]]), gates)

    free = mixed_extents(Space((), 4, Depth((2, 4), "free")), {"depth": gates})
    assert_close(jnp.stack([gate.weights for gate in free["depth"]]), gates)
    for extents in (spaced, free):
        assert all(gate.choices == (0, 1) for gate in extents["depth"])
        assert at_layer(extents, 3) == {"depth": extents["depth"][3]}


HALF = jnp.full(2, 0.5)


@pytest.mark.parametrize(
    ("rule", "given", "message"),
    [
        ("prefix", {"wdth": HALF}, "no choice 'wdth'; there are ['width', 'depth']"),
        ("prefix", {"depth": HALF}, "no probabilities of ['width']"),
        ("prefix", {"width": HALF}, "no probabilities of ['depth']"),
        ("spaced", {"width": HALF[None], "depth": HALF}, "(1, 2), expected (2,)"),
        ("spaced", {"width": HALF, "depth": jnp.ones(1)}, "(1,), expected (2,)"),
        (
            "free",
            {"width": HALF, "depth": HALF},
            "'depth' have shape (2,), expected (3, 2)",
        ),
        (None, {"width": HALF, "depth": HALF}, "no choice 'depth'"),
    ],
)
def test_probabilities_that_do_not_fit_the_space_are_refused(rule, given, message):
    space = Space((WIDTH,), 3, None if rule is None else Depth((1, 3), rule))
    with pytest.raises(ValueError, match=re.escape(message)):
        mixed_extents(space, given)


def test_a_scaled_dimension_is_the_product_of_its_choices():
    hidden = Scaled(WIDTH, RATIO, divisor=2)
    assert full_size(hidden) == 32
    assert full_size(Scaled(WIDTH, 4)) == full_size(Scaled(4, WIDTH)) == 32
    space = Space((WIDTH, RATIO), 2)
    genotype = np.asarray([0, 1, 0], np.int32)
    for extents in (
        fixed_extents(space, genotype),
        indexed_extents(space, jnp.asarray(genotype)),
        mixed_extents(space, one_hot_probabilities(space, genotype)),
    ):
        assert active_size(extent_of(hidden, at_layer(extents, 0))) == 16
        assert active_size(extent_of(hidden, at_layer(extents, 1))) == 14
        assert active_size(extent_of(Scaled(WIDTH, 3), at_layer(extents, 0))) == 12


def test_a_scaled_dimension_is_whole_for_every_pair_of_choices():
    with pytest.raises(ValueError, match="4 x 7 is not a multiple of the divisor 8"):
        Scaled(WIDTH, RATIO, divisor=8)
    with pytest.raises(TypeError, match="choice 'odd' is not a size"):
        Scaled(WIDTH, Choice("odd", (0.5, 1.0)))
