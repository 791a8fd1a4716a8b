"""What predictors see of genotypes."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from search.predictors.features import Members, Standard
from search.space import Choice, Depth, Space
from tests.search.strategies import all_genotypes, build_space, space_specs

SIZES = Choice("size", (1, 2, 3), per_layer=True)
SPACE = Space((Choice("width", (8, 16)), SIZES), 2, Depth((1, 2)))


def test_features_of_a_small_space_are_as_written_by_hand():
    members = Members(SPACE, np.asarray([[0, 1, 2, 0], [1, 0, 1, 2]], np.int32))
    # Depth, width, the first layer, and the second, which can idle.
    assert members.one_hot().astype(int).tolist() == [
        [1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1],
        [0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0],
    ]
    # The same genes in 0..1, then which layers run.
    assert members.ordinal().tolist() == [
        [0, 1, 1, 0, 1, 0],
        [1, 0, 0.5, 1, 1, 1],
    ]


@hypothesis.given(space_specs())
@hypothesis.settings(max_examples=40)
def test_features_are_equal_only_for_equal_architectures(spec):
    space = build_space(spec)
    genotypes = all_genotypes(space)
    members = Members(space, genotypes)
    for features in (members.one_hot(), members.ordinal()):
        assert len(np.unique(features, axis=0)) == len(genotypes)
        assert features.min() >= 0
        assert features.max() <= 1
    assert (members.one_hot().sum(1) == space.genes).all()


@hypothesis.given(space_specs(), st.integers(0, 9))
@hypothesis.settings(max_examples=20)
def test_genes_of_idle_layers_do_not_matter(spec, seed):
    space = build_space(spec)
    genotypes = all_genotypes(space)
    drawn = np.random.default_rng(seed).integers(0, space.cardinalities)
    other = np.where(space.active_genes(genotypes), genotypes, drawn).astype(np.int32)
    first, second = Members(space, genotypes), Members(space, other)
    assert (first.one_hot() == second.one_hot()).all()
    assert (first.ordinal() == second.ordinal()).all()


def test_columns_are_taken_along():
    columns = np.asarray([[1.0], [2.0], [3.0]])
    members = Members(SPACE, SPACE.sample(3, np.random.default_rng(0)), columns)
    assert members.take(np.asarray([2, 0])).extra.tolist() == [[3.0], [1.0]]
    assert Members(SPACE, members.genotypes).extra.shape == (3, 0)


def test_a_standard_has_mean_0_and_deviation_1_and_is_undone():
    values = np.asarray([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    standard = Standard.of(values)
    scaled = standard.apply(values)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(scaled.std(0), [1, 0], atol=1e-15)
    np.testing.assert_allclose(standard.undo(scaled), values)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (np.zeros((2, 1)), "2 rows of columns for 3 genotypes"),
        (np.full((3, 1), np.nan), "must be finite"),
    ],
)
def test_bad_columns_are_refused(columns, message):
    genotypes = SPACE.sample(3, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        Members(SPACE, genotypes, columns)
