"""Embedding: rows of a table, and products with all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.embedding import attend, embed
from kernels.extents import Fixed, Indexed
from tests.kernels.comparison import assert_equal, quick_jit, whole

VOCABULARY, FULL, CHOICES = 7, 6, (2, 6)
TOKENS = np.asarray([[3, 0, 6], [3, 3, 1]])


@quick_jit
def there_and_back(table, extent):
    rows = embed(jnp.asarray(TOKENS), table, extent)
    return rows, attend(rows, table, extent)


@pytest.mark.parametrize("size", CHOICES)
def test_tokens_look_up_their_rows_and_score_against_all(size):
    table = whole((VOCABULARY, FULL), 0)
    part = table[:, :size]
    extent = Indexed(jnp.asarray(CHOICES.index(size)), CHOICES)
    rows = np.pad(part, ((0, 0), (0, FULL - size)))[TOKENS]
    scores = part[TOKENS] @ part.T
    assert_equal(there_and_back(table, extent), (rows, scores))
    assert_equal(there_and_back(table, Fixed(size)), (rows[..., :size], scores))


def test_a_row_gathers_the_gradients_of_its_tokens():
    def total(table):
        return jnp.sum(embed(jnp.asarray(TOKENS), table, Fixed(2)))

    counts = np.bincount(TOKENS.ravel(), minlength=VOCABULARY)
    expected = np.zeros((VOCABULARY, FULL))
    expected[:, :2] = counts[:, None]
    assert_equal(quick_jit(jax.grad(total))(jnp.ones((VOCABULARY, FULL))), expected)
