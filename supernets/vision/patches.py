"""Images as sequences of square patches."""

from jaxtyping import Array, Float


def patches_of(
    images: Float[Array, "batch height width channels"], side: int
) -> Float[Array, "batch patches values"]:
    """Cuts images into patches, row by row (Dosovitskiy 2021, section 3.1).

    Args:
        images: Whose height and width the side divides.
        side: Of a patch; a patch has ``side^2 channels`` values.
    """
    batch, height, width, channels = images.shape
    rows, columns = height // side, width // side
    grid = images.reshape(batch, rows, side, columns, side, channels)
    return grid.swapaxes(2, 3).reshape(batch, rows * columns, side * side * channels)
