"""Rotary positions: the rotations of the paper, and their gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.rotary import rotary_angles, rotate
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

TOKENS = 5
BASE = 100.0


@quick_jit
def rotated(x):
    return rotate(x, rotary_angles(*x.shape[-2:], BASE))


@pytest.mark.parametrize("head_dim", [2, 6])
def test_rotation_at_a_position_is_the_matrix_of_the_paper(head_dim):
    half = head_dim // 2
    x = normal((TOKENS, head_dim), 0)
    turned = rotated(x)
    for position in range(TOKENS):
        matrix = np.zeros((head_dim, head_dim))
        for pair in range(half):
            angle = position * BASE ** (-2 * pair / head_dim)
            rows = np.ix_([pair, pair + half], [pair, pair + half])
            c, s = np.cos(angle), np.sin(angle)
            matrix[rows] = [[c, -s], [s, c]]
        assert_close(turned[position], matrix @ x[position])


def test_scores_depend_on_the_difference_of_positions_only():
    tokens, head_dim = 12, 8
    query, key = normal((head_dim,), 0), normal((head_dim,), 1)
    turned = [np.asarray(rotated(np.tile(x, (tokens, 1)))) for x in (query, key)]
    scores = turned[0] @ turned[1].T
    for offset in range(1 - tokens, tokens):
        diagonal = np.diagonal(scores, offset)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=0, atol=1e-5)
    norms = np.linalg.norm(turned[0], axis=-1)
    np.testing.assert_allclose(norms, np.linalg.norm(query), rtol=1e-5)


def test_heads_and_sequences_are_rotated_alike():
    x = normal((2, 3, TOKENS, 4), 0)
    turned = rotated(x)
    for row in np.ndindex(2, 3):
        assert_equal(turned[row], rotated(x[row]))


def test_the_opposite_angles_are_the_gradient_of_a_rotation():
    x, cotangent = normal((3, TOKENS, 4), 0), normal((3, TOKENS, 4), 1)
    angles = rotary_angles(TOKENS, 4, BASE)

    @quick_jit
    def both(x, cotangent):
        (gradient,) = jax.vjp(lambda x: rotate(x, angles), x)[1](cotangent)
        return gradient, rotate(cotangent, angles.back)

    gradient, turned_back = both(x, cotangent)
    assert_close(turned_back, gradient)


def test_the_opposite_angles_undo_a_rotation():
    x = normal((3, TOKENS, 4), 0)
    back = rotary_angles(TOKENS, 4, BASE).back
    assert_close(quick_jit(lambda x: rotate(x, back))(rotated(x)), x)


def test_a_rotation_has_the_type_of_what_it_rotates():
    x = jnp.asarray(normal((TOKENS, 4), 0), jnp.bfloat16)
    turned = rotated(x)
    assert turned.dtype == jnp.bfloat16
    wide = np.asarray(rotated(x.astype(jnp.float32)))
    difference = np.abs(np.asarray(turned, np.float32) - wide)
    assert 0 < difference.max() <= 2.0**-6 * np.abs(wide).max()
