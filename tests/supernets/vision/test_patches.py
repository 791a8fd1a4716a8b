"""Images cut into patches."""

import jax.numpy as jnp
import numpy as np

from supernets.vision.patches import patches_of


def test_patches_are_squares_of_the_image_row_by_row():
    images = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
    patches = np.asarray(patches_of(jnp.asarray(images), 2))
    assert patches.shape == (2, 6, 12)
    for index in range(6):
        row, column = divmod(index, 3)
        square = images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert (patches[:, index] == square.reshape(2, 12)).all()
