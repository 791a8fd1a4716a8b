"""Tilted sampling: members of a chosen size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space import Choice, Depth, Rule, Space
from tests.search.strategies import build_space, space_specs

WIDTH = Choice("width", (16, 32, 48, 64))
FFN = Choice("ffn", (1, 2, 3), per_layer=True)


def generator(seed=0):
    return np.random.default_rng(seed)


@settings(max_examples=30)
@given(space_specs(), st.integers(0, 99), st.integers(0, 6))
def test_tilted_draws_are_members_and_repeat_with_the_seed(spec, seed, count):
    space = build_space(spec)
    tilt = generator(seed).random(count)
    drawn = space.sample(count, generator(seed), tilt)
    assert drawn.shape == (count, space.genes)
    assert space.valid(drawn).all()
    assert (space.canonical(drawn) == drawn).all()
    assert (space.sample(count, generator(seed), tilt) == drawn).all()


@settings(max_examples=30)
@given(space_specs(), st.integers(0, 99))
def test_the_ends_of_tilt_are_the_ends_of_the_space(spec, seed):
    space = build_space(spec)
    small = space.sample(4, generator(seed), np.zeros(4))
    large = space.sample(4, generator(seed), np.ones(4))
    if space.free:
        # Which layers run is left to chance; how many is not.
        counts = space.active_layers(large).sum(1)
        assert set(counts.tolist()) == {space.depth.values[-1]}
        genes = space.active_genes(large)[:, space.layers :]
        tops = np.where(genes, (space.cardinalities - 1)[None, space.layers :], 0)
        assert (large[:, space.layers :] == tops).all()
        assert set(space.active_layers(small).sum(1)) == {space.depth.values[0]}
        assert not small[:, space.layers :].any()
    else:
        assert (small == space.smallest).all()
        assert (large == space.largest).all()


@pytest.mark.parametrize("rule", ["prefix", "spaced", "free"])
def test_the_mean_of_every_gene_is_the_tilt(rule):
    space = Space((WIDTH, FFN), 4, Depth((2, 3, 4), rule))
    for tilt in (0.1, 0.5, 0.8):
        drawn = space.sample(3000, generator(), np.full(3000, tilt))
        layers = space.active_layers(drawn)
        assert (layers.sum(1) - 2).mean() / 2 == pytest.approx(tilt, abs=0.02)
        width = drawn[:, space.slices["width"]]
        assert width.mean() / 3 == pytest.approx(tilt, abs=0.02)
        ffn = drawn[:, space.slices["ffn"]][layers]
        assert ffn.mean() / 2 == pytest.approx(tilt, abs=0.02)


def test_each_member_has_its_own_tilt():
    space = Space((FFN,), 64)
    tilt = np.linspace(0, 1, 101)
    means = space.sample(101, generator(), tilt).mean(1) / 2
    # Five deviations of the mean of 64 genes.
    assert (np.abs(means - tilt) <= 5 * np.sqrt(tilt * (1 - tilt) / 2 / 64)).all()


def test_a_uniform_tilt_leaves_each_gene_uniform_and_spreads_the_members():
    space = Space((WIDTH, FFN), 32)
    tilted = space.sample(6000, generator(), generator(1).random(6000))
    for gene in range(4):
        shares = np.bincount(tilted[:, gene]) / len(tilted)
        assert np.allclose(shares, 1 / len(shares), atol=0.02)
    means = tilted[:, 1:].mean(1) / 2
    tenths = np.histogram(means, 10, (0, 1))[0] / len(means)
    assert np.allclose(tenths, 0.1, atol=0.03)
    plain = space.sample(6000, generator())[:, 1:].mean(1) / 2
    assert (np.abs(plain - 0.5) > 0.25).mean() < 0.002


def test_rules_are_kept_at_every_tilt():
    increasing = Rule(
        "layers do not shrink", lambda a: list(a["ffn"]) == sorted(a["ffn"])
    )
    space = Space((FFN,), 3, rules=(increasing,))
    drawn = space.sample(60, generator(), np.linspace(0, 1, 60))
    assert (np.diff(drawn, axis=1) >= 0).all()
    # A draw that is tried again keeps its tilt.
    assert (drawn[:15].mean(), drawn[-15:].mean()) == pytest.approx((0.2, 1.8), abs=0.2)


@pytest.mark.parametrize(
    ("tilt", "message"),
    [
        ([0.5], "1 tilts for 2 members"),
        ([0.5, 1.5], r"a tilt lies in 0\.\.1, got 1.5"),
        ([-0.1, 0.5], r"a tilt lies in 0\.\.1, got -0.1"),
        ([0.5, float("nan")], r"a tilt lies in 0\.\.1, got nan"),
    ],
)
def test_tilts_that_cannot_be_are_refused(tilt, message):
    with pytest.raises(ValueError, match=message):
        Space((FFN,), 2).sample(2, generator(), np.asarray(tilt))


def test_sampling_without_a_tilt_draws_what_it_always_drew():
    space = Space((WIDTH, FFN), 3, Depth((1, 2, 3)))
    rng = generator(7)
    genes = rng.integers(0, space.cardinalities[None], (5, space.genes))
    genes[:, 0] = rng.integers(0, 3, 5)
    expected = space.canonical(genes.astype(np.int32))
    assert (space.sample(5, generator(7)) == expected).all()
