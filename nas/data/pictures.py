"""Pictures from bytes or arrays: decoded, cut out and resized."""

import io

import numpy as np
from jaxtyping import Float, UInt8

from nas.data.augmentation import Box, Cut, Pixels, middle
from nas.errors import UsageError

MODES = {1: "L", 3: "RGB"}
"""What Pillow calls images of so many channels of eight bits."""

WHITE = np.float32(255)

KEPT = 0.875
"""Share of the shorter side in the middle that is judged: 224 of 256 pixels."""

DRAFT = 2.0
"""A JPEG may be decoded at half its size, a quarter or an eighth where that leaves this
many times the pixels to resize from (the gap of Pillow's own thumbnails)."""


def decoded(
    encoded: bytes, *, name: str, side: int, channels: int, cut: Cut
) -> Float[np.ndarray, "side side channels"]:
    """Returns what is cut out of an encoded picture, resized to a square in [0, 1].

    Bicubic, with antialiasing. Orientation tags are not heeded, as usual in training.

    Args:
        encoded: A file's content, of any format that Pillow reads.
        name: Of the picture, for messages.
        side: Height and width of the result.
        channels: Three for colour, one for grey.
        cut: Chooses what is cut out.

    Raises:
        UsageError: If it cannot be decoded, or has more than eight bits a channel.
    """
    # Imported here: only reading such data needs it.
    from PIL import Image

    mode = MODES[channels]
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"of mode {image.mode}: more than 8 bits a channel")
            width, height = image.size
            box = cut(width, height)
            across, down = box[2] - box[0], box[3] - box[1]
            least = (DRAFT * side * width / across, DRAFT * side * height / down)
            image.draft(mode, (int(least[0]), int(least[1])))
            scale = image.width / width, image.height / height
            small = image.convert(mode).resize(
                (side, side), Image.Resampling.BICUBIC, box=_scaled(box, scale)
            )
    # Pillow raises all of these for damaged files, depending on format and place.
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        Image.DecompressionBombError,
    ) as error:
        raise UsageError(
            f"image {name} cannot be decoded ({error}); replace or remove it"
        ) from error
    return np.asarray(small, np.float32).reshape(side, side, channels) / WHITE


def _scaled(box: Box, scale: tuple[float, float]) -> Box:
    across, down = scale
    return (box[0] * across, box[1] * down, box[2] * across, box[3] * down)


def cut_out(pixels: Pixels, cut: Cut) -> Pixels:
    """Returns what is cut out of an image, resized to all of it.

    Args:
        pixels: Any number of channels.
        cut: Chooses what is cut out.
    """
    from PIL import Image

    height, width, _ = pixels.shape
    box = cut(width, height)
    resized = [
        Image.fromarray(channel).resize(
            (width, height), Image.Resampling.BICUBIC, box=box
        )
        for channel in np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    ]
    # Bicubic curves overshoot at edges.
    return np.clip(np.stack([np.asarray(c) for c in resized], axis=2), 0, 1)


def judged(width: int, height: int) -> Box:
    """Returns the part of a picture that networks are judged on: the middle.

    The same as resizing the shorter side to side / 0.875 and cropping, in one step.

    >>> judged(500, 400)
    (75.0, 25.0, 425.0, 375.0)
    """
    left, upper, right, lower = middle(width, height, 1.0)
    edge = (1 - KEPT) / 2 * (right - left)
    return (left + edge, upper + edge, right - edge, lower - edge)


def in_unit_interval(
    pixels: Float[np.ndarray, "height width channels"]
    | UInt8[np.ndarray, "height width channels"],
) -> Pixels:
    """Returns stored pixels in [0, 1], where floats are already."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / WHITE
    return pixels.astype(np.float32)
