"""Spaces: counting, coding, varying and restricting them."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space import Architecture, Choice, Count, Depth, Rule, Space
from tests.search.strategies import all_genotypes, build_space, space_specs

WIDTH = Choice("width", (64, 128, 256))
FFN = Choice("ffn", (1, 2, 4), per_layer=True)


def generator(seed=0):
    return np.random.default_rng(seed)


def rows(genotypes):
    return {tuple(row.tolist()) for row in genotypes}


@settings(max_examples=30)
@given(space_specs())
def test_enumeration_lists_each_member_once_and_size_counts_them(spec):
    space = build_space(spec)
    members = space.enumerate()
    assert rows(members) == rows(all_genotypes(space))
    assert space.size == Count(len(members), exact=True)
    assert space.valid(members).all()


@settings(max_examples=30)
@given(space_specs())
def test_decoding_and_encoding_are_inverse(spec):
    space = build_space(spec)
    for genotype in space.enumerate()[::7]:
        architecture = space.decode(genotype)
        assert (space.encode(architecture) == genotype).all()
        encoded = json.loads(json.dumps(architecture.to_json()))
        assert Architecture.from_json(encoded) == architecture


@settings(max_examples=30)
@given(space_specs(), st.integers(0, 99))
def test_genes_that_do_not_matter_change_nothing(spec, seed):
    space = build_space(spec)
    canonical = space.sample(5, generator(seed))
    noise = generator(seed).integers(0, space.cardinalities[None], canonical.shape)
    noisy = np.where(space.active_genes(canonical), canonical, noise).astype(np.int32)
    assert (space.canonical(noisy) == canonical).all()
    assert (space.canonical(canonical) == canonical).all()
    for one, other in zip(noisy, canonical, strict=True):
        assert space.decode(one) == space.decode(other)


@settings(max_examples=30)
@given(space_specs(), st.integers(0, 99))
def test_variation_stays_inside_and_repeats_with_the_seed(spec, seed):
    space = build_space(spec)

    def vary(rng):
        parents = space.sample(6, rng)
        mutated = space.mutate(parents, rng, 0.3)
        return [parents, mutated, space.crossover(parents, mutated, rng)]

    for first, again in zip(vary(generator(seed)), vary(generator(seed)), strict=True):
        assert (first == again).all()
        assert space.valid(first).all()
        assert (space.canonical(first) == first).all()


@settings(max_examples=30)
@given(space_specs(), st.integers(0, 99))
def test_mutation_changes_something_when_it_can(spec, seed):
    space = build_space(spec)
    parents = space.sample(6, generator(seed))
    children = space.mutate(parents, generator(seed), 0.5)
    assert (children != parents).any(1).all() == (space.size.value > 1)


def test_mutation_leaves_a_member_without_alternatives_alone():
    space = Space((WIDTH, FFN), 2).restrict(width=(64,), ffn=(4,))
    parents = space.sample(3, generator())
    assert (space.mutate(parents, generator(), 1.0) == parents).all()


@settings(max_examples=30)
@given(space_specs(rules=(None, "prefix", "spaced")), st.integers(0, 99))
def test_crossover_takes_each_gene_from_a_parent_that_runs_its_layer(spec, seed):
    space = build_space((*spec[:-1], False))
    rng = generator(seed)
    first, second = space.sample(8, rng), space.sample(8, rng)
    child = space.crossover(first, second, rng)
    from_first = space.active_genes(first) & (child == first)
    from_second = space.active_genes(second) & (child == second)
    assert (from_first | from_second | ~space.active_genes(child)).all()


def test_free_depth_is_repaired_to_the_nearest_allowed_count():
    space = Space((FFN,), 6, Depth((2, 5), "free"))
    rng = generator()
    parents = space.sample(200, rng)
    children = space.mutate(parents, rng, 0.2)
    for genotypes in (parents, children, space.crossover(parents, children, rng)):
        counts = space.active_layers(genotypes).sum(1)
        assert set(counts.tolist()) == {2, 5}


@settings(max_examples=30)
@given(space_specs())
def test_neighbours_reach_every_member_of_a_space_without_rules(spec):
    space = build_space((*spec[:-1], False))
    found = rows(space.smallest[None])
    frontier = [space.smallest]
    while frontier:
        around = space.neighbours(frontier.pop())
        frontier += [row for row in around if not rows(row[None]) <= found]
        found |= rows(around)
    assert found == rows(space.enumerate())


@settings(max_examples=30)
@given(space_specs(), st.integers(0, 99))
def test_neighbours_are_distinct_members_one_step_away(spec, seed):
    space = build_space(spec)
    genotype = space.sample(1, generator(seed))[0]
    around = space.neighbours(genotype)
    assert space.valid(around).all()
    assert len(rows(around) - rows(genotype[None])) == len(around)
    if not space.free:
        both = space.active_genes(around) & space.active_genes(genotype[None])
        assert (((around != genotype) & both).sum(1) <= 1).all()


def test_sampling_is_uniform_over_depths_and_values():
    space = Space((WIDTH, FFN), 3, Depth((1, 3)))
    drawn = space.sample(6000, generator())
    for name in ("width", "depth"):
        genes = drawn[:, space.slices["width"]] if name == "width" else drawn[:, :1]
        shares = np.bincount(genes[:, 0]) / len(drawn)
        assert np.allclose(shares, 1 / len(shares), atol=0.03)


@settings(max_examples=30)
@given(space_specs(), st.data())
def test_restriction_is_the_part_of_the_space_with_the_kept_values(spec, data):
    space = build_space((*spec[:-1], False))
    kept = {
        choice.name: tuple(
            sorted(
                data.draw(st.sets(st.sampled_from(choice.values), min_size=1)),
                key=choice.index,
            )
        )
        for choice in space.choices
    }
    if space.depth is not None:
        counts = data.draw(st.sets(st.sampled_from(space.depth.values), min_size=1))
        kept["depth"] = tuple(sorted(counts))
    smaller = space.restrict(**kept)

    def inside(architecture):
        flat = {name: architecture[name] for name in kept}
        return all(
            set(value if isinstance(value, tuple) else [value]) <= set(kept[name])
            for name, value in flat.items()
        )

    expected = [g for g in space.enumerate() if inside(space.decode(g))]
    moved = [space.encode(smaller.decode(g)) for g in smaller.enumerate()]
    assert rows(moved) == rows(expected)
    assert smaller.size.value == len(expected)


def test_restriction_keeps_the_order_of_values_and_the_rules():
    rule = Rule("always", lambda _: True)
    space = Space((WIDTH,), 3, Depth((1, 2, 3)), (rule,))
    smaller = space.restrict(width=(256, 64), depth=(3, 1))
    assert smaller.choice("width").values == (64, 256)
    assert smaller.depth == Depth((1, 3))
    assert smaller.rules == (rule,)
    assert space.restrict() == space


@given(st.integers(2, 12), st.data())
def test_spaced_layers_are_nested_spread_and_kept_by_restriction(layers, data):
    counts = data.draw(st.sets(st.integers(1, layers), min_size=2))
    depth = Depth(tuple(sorted(counts)), "spaced")
    table = depth.kept(layers)
    assert (table.sum(1) == depth.values).all()
    assert (table[:-1] <= table[1:]).all()
    assert table[:, 0].all()
    some = data.draw(st.sets(st.sampled_from(depth.values), min_size=1))
    smaller = depth.restrict(tuple(sorted(some)))
    positions = [depth.values.index(count) for count in smaller.values]
    assert (smaller.kept(layers) == table[positions]).all()
    assert smaller.restrict(smaller.values[:1]) == depth.restrict(smaller.values[:1])


def test_spaced_layers_are_equidistant():
    table = Depth((2, 4, 7), "spaced").kept(7)
    assert [np.flatnonzero(row).tolist() for row in table] == [
        [0, 6],
        [0, 2, 4, 6],
        [0, 1, 2, 3, 4, 5, 6],
    ]


def test_ends_and_middle_of_a_space():
    space = Space((WIDTH, FFN), 3, Depth((1, 2, 3)))
    assert space.decode(space.smallest).to_json() == {
        "layers": [0],
        "width": 64,
        "ffn": [1],
    }
    assert space.decode(space.middle).to_json() == {
        "layers": [0, 1],
        "width": 128,
        "ffn": [2, 2],
    }
    assert space.decode(space.largest)["depth"] == 3
    assert space.decode(space.largest)["ffn"] == (4, 4, 4)


@settings(max_examples=30)
@given(space_specs())
def test_the_middle_is_a_member(spec):
    space = build_space(spec)
    assert space.valid(space.middle[None]).all()


def test_values_are_given_for_every_stored_layer():
    space = Space((WIDTH, FFN), 2)
    both = np.stack([space.smallest, space.largest])
    assert space.values(both, "width").tolist() == [64, 256]
    assert space.values(both, "ffn").tolist() == [[1, 1], [4, 4]]


def test_the_size_of_a_large_space_with_rules_is_estimated():
    rule = Rule("the first layer is an end", lambda arch: arch["ffn"][0] != 2)
    space = Space((FFN,), 12, Depth(tuple(range(1, 13))), (rule,))
    exact = 2 * sum(3 ** (depth - 1) for depth in range(1, 13))
    assert not space.size.exact
    assert space.size.value == pytest.approx(exact, rel=0.05)
    assert str(space.size).startswith("about 5")


def test_counts_are_written_for_people():
    assert str(Count(1234567, exact=True)) == "1,234,567"
    assert str(Count(3**300, exact=True)) == "1.37e+143"
    assert str(Count(10, exact=False)) == "about 10"


def test_fingerprints_differ_when_spaces_do():
    spaces = [
        Space((WIDTH,), 2),
        Space((WIDTH,), 3),
        Space((FFN,), 2),
        Space((WIDTH, FFN), 2),
        Space((FFN, WIDTH), 2),
        Space((WIDTH,), 2, Depth((1, 2))),
        Space((WIDTH,), 2, Depth((1, 2), "free")),
        Space((WIDTH,), 2, rules=(Rule("any", lambda _: True),)),
        Space((Choice("width", (0, 1)),)),
        Space((Choice("width", (False, True)),)),
        Space((Choice("width", (0.0, 1.0)),)),
    ]
    assert len({space.fingerprint for space in spaces}) == len(spaces)
    assert Space((WIDTH,), 2).fingerprint == spaces[0].fingerprint


def test_a_space_survives_pickling():
    space = Space((WIDTH, FFN), 3, Depth((1, 3), "spaced"))
    space.sample(2, generator())
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert again.fingerprint == space.fingerprint


def test_shared_arrays_cannot_be_changed():
    space = Space((WIDTH,))
    for member in (space.smallest, space.middle, space.largest, space.cardinalities):
        with pytest.raises(ValueError, match="read-only"):
            member[0] = 0


def test_names_of_architectures_depend_on_their_content_alone():
    encoded = {"layers": [0, 1], "width": 64, "ffn": [1, 2]}
    backwards = dict(reversed(encoded.items()))
    first, second = map(Architecture.from_json, (encoded, backwards))
    assert first.id == second.id
    assert len(first.id) == 8


@settings(max_examples=30)
@given(space_specs(), st.data())
def test_lifting_is_decoding_there_and_encoding_here(spec, data):
    space = build_space((*spec[:-1], False))
    kept = {
        name: tuple(
            value
            for value, keep in zip(
                values,
                data.draw(
                    st.lists(
                        st.booleans(), min_size=len(values), max_size=len(values)
                    ).filter(any)
                ),
                strict=True,
            )
            if keep
        )
        for name, values in space.axes.items()
    }
    part = space.restrict(**kept)
    members = part.sample(6, generator())
    expected = np.stack([space.encode(part.decode(row)) for row in members])
    assert (space.lift(part, members) == expected).all()
    assert (space.lift(space, expected) == expected).all()


def test_axes_are_what_can_be_restricted():
    assert Space((WIDTH, FFN), 2).axes == {"width": WIDTH.values, "ffn": FFN.values}
    space = Space((WIDTH,), 3, Depth((1, 3)))
    assert space.axes == {"width": WIDTH.values, "depth": (1, 3)}
    assert space.restrict(**space.axes) == space


def test_lifting_from_another_space_is_refused():
    part = Space((Choice("width", (64, 99)),))
    with pytest.raises(ValueError, match="'width' has no value 99"):
        Space((WIDTH,)).lift(part, part.largest[None])
