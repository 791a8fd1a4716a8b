"""The decoder's spec: what it refuses, its space, costs and latency terms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space import Choice, Depth
from supernets.decoder.spec import Decoder
from tests.supernets.toy import decoder_arguments, small_decoder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head_dim": 3}, "head_dim must be even, got 3"),
        ({"head_dim": 0}, "head_dim must be even, got 0"),
        ({"vocabulary": 0}, "vocabulary must be at least 1, got 0"),
        ({"group": 0}, "group must be at least 1, got 0"),
        (
            {"heads": (2, 3, 5), "group": 2},
            r"heads \[3, 5\] do not divide into groups of 2; every choice of heads",
        ),
        ({"width": (0, 4)}, r"width must be positive, got \(0, 4\)"),
        ({"heads": (-1, 2)}, r"heads must be positive, or 0 in some .* \(-1, 2\)"),
        ({"ffn": (0,)}, r"ffn must be positive, or 0 in some .*, got \(0,\)"),
        ({"depth": (0, 1)}, "depth must be at least 1, got 0"),
        *(
            ({name: values}, f"'{name}' {message}")
            for name in ("width", "heads", "ffn", "depth")
            for values, message in (
                ((), "has no values"),
                ((2, 2), r"repeats a value: \(2, 2\)"),
                ((4, 2), r"is not sorted: \(4, 2\); write \(2, 4\)"),
            )
        ),
    ],
)
def test_sizes_that_form_no_network_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_decoder(**changes)


def test_the_space_has_the_choices_and_as_many_layers_as_the_deepest():
    space = small_decoder(depth=(1, 3), depth_rule="spaced").space()
    assert space.layers == 3
    assert space.depth == Depth((1, 3), "spaced")
    assert space.choices == (
        Choice("width", (4, 8)),
        Choice("heads", (1, 2), per_layer=True),
        Choice("ffn", (3, 6), per_layer=True),
    )


@settings(max_examples=20)
@given(decoder_arguments(layers=3), st.integers(0, 99))
def test_costs_and_terms_of_a_population_are_those_of_its_members(arguments, seed):
    spec = Decoder(**arguments)
    genotypes = spec.space().sample(5, np.random.default_rng(seed))
    together = spec.costs(genotypes, batch=2, example=(3,))
    terms = spec.latency_terms(genotypes)
    droppable = 0 in (*spec.heads, *spec.ffn)
    assert terms.shape == (5, 8 + droppable)
    assert (terms >= 0).all()
    assert (terms[:, 0] == 1).all()
    for row, genotype in enumerate(genotypes):
        alone = spec.costs(genotype[None], batch=2, example=(3,))
        assert {name: values[row] for name, values in together.items()} == {
            name: values[0] for name, values in alone.items()
        }
        assert (spec.latency_terms(genotype[None])[0] == terms[row]).all()


@settings(max_examples=20)
@given(decoder_arguments(layers=3))
def test_no_subnet_costs_less_than_the_smallest_or_more_than_the_largest(arguments):
    spec = Decoder(**arguments)
    space = spec.space()
    sampled = space.sample(20, np.random.default_rng(0))
    genotypes = np.concatenate([space.smallest[None], sampled, space.largest[None]])
    terms = spec.latency_terms(genotypes)
    for values in (*spec.costs(genotypes, batch=1, example=(4,)).values(), *terms.T):
        assert values.argmin() == 0 or values.min() == values[0]
        assert values.max() == values[-1]


def test_genes_of_layers_that_do_not_run_cost_nothing():
    spec = small_decoder(depth=(1, 2))
    space = spec.space()
    idle = space.smallest.copy()
    idle[space.slices["ffn"].stop - 1] = 1
    both = np.stack([space.smallest, idle])
    assert (space.canonical(both)[0] == space.canonical(both)[1]).all()
    for values in spec.costs(both, batch=1, example=(4,)).values():
        assert values[0] == values[1]
    assert np.ptp(spec.latency_terms(both), axis=0).max() == 0


def test_latency_terms_are_what_their_names_say():
    spec = small_decoder(depth=(2,), heads=(1, 2), ffn=(3, 6))
    terms = spec.latency_terms(spec.space().largest[None])[0]
    assert terms.tolist() == [1, 8, 2, 2 * 2 * 8, 2 * 2, 2 * 6 * 8, 2 * 6, 4 * 8]


@pytest.mark.parametrize(
    ("example", "classes", "message"),
    [
        ((4, 4, 3), 7, r"reads sequences of tokens, of shape \(tokens,\), got \(4,"),
        ((4,), 8, "vocabulary 7 is too small for the data: 8"),
        (
            (4,),
            {"a": 2, "b": 3},
            r"predicts one token; .* tasks \['a', 'b'\]",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused(example, classes, message):
    with pytest.raises(ValueError, match=message):
        small_decoder().check(example, classes)


def test_data_of_as_many_tokens_as_the_vocabulary_or_fewer_fit():
    small_decoder().check((4,), 7)
    small_decoder().check((1,), 6)
