"""What is done to training images so that no epoch shows the same picture again."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Pixels = Float[np.ndarray, "height width channels"]
"""Of one image, in [0, 1]."""

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge, in pixels."""

Cut = Callable[[int, int], Box]
"""Chooses what is cut out of an image from its width and height."""

TRIES = 10
"""Draws of a crop before the largest one in the middle is taken (as Inception's)."""

GREY = (0.299, 0.587, 0.114)
"""What each of red, green and blue adds to brightness (ITU-R BT.601)."""

ERASED_AREA = (0.02, 1 / 3)
"""Least and greatest share of the area that is erased (Zhong et al. 2020; the latter as
in later work)."""

ERASED_ASPECT = 10 / 3
"""Greatest height over width, or width over height, of what is erased."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to training images, each of which is off at 0.

    Raises:
        ValueError: If a number is out of range.

    References:
        Random resized crops and colours: Szegedy et al., "Going deeper with
        convolutions", 2015, section 6, https://arxiv.org/abs/1409.4842, with the
        numbers of AutoFormer, 2021, https://arxiv.org/abs/2107.00651. Erasing: Zhong
        et al., "Random erasing data augmentation", 2020, algorithm 1,
        https://arxiv.org/abs/1708.04896.
    """

    crop: float = 0.0
    """Least share of the area that a random crop keeps, such as 0.08; the most is all.
    Crops are resized to the whole image."""
    aspect: float = 4 / 3
    """Greatest width over height, and height over width, of a random crop."""
    flip: float = 0.0
    """Probability of exchanging left and right."""
    brightness: float = 0.0
    """Colours are multiplied by 1 - brightness to 1 + brightness."""
    contrast: float = 0.0
    """Distances from the mean brightness are multiplied by 1 - contrast to 1 +
    contrast."""
    saturation: float = 0.0
    """Distances from grey are multiplied by 1 - saturation to 1 + saturation. Does
    nothing to images without three channels."""
    erase: float = 0.0
    """Probability of putting random pixels in place of a rectangle."""

    def __post_init__(self) -> None:
        shares = ("crop", "flip", "brightness", "contrast", "saturation", "erase")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} must lie in 0..1, where 0 is off, got "
                    f"{getattr(self, name)}"
                )
        if not self.aspect >= 1:
            raise ValueError(f"aspect must be at least 1, got {self.aspect}")

    def cut(self, rng: np.random.Generator) -> Cut:
        """Returns what draws a random crop of an image (torchvision's recipe)."""

        def box(width: int, height: int) -> Box:
            for _ in range(TRIES):
                area = width * height * rng.uniform(self.crop, 1.0)
                wide, high = _sides(area, self.aspect, rng)
                if wide <= width and high <= height:
                    left = float(rng.integers(0, width - wide, endpoint=True))
                    upper = float(rng.integers(0, height - high, endpoint=True))
                    return (left, upper, left + wide, upper + high)
            return middle(width, height, self.aspect)

        return box

    def changed(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Returns an image after everything that follows the crop."""
        if rng.random() < self.flip:
            pixels = pixels[:, ::-1]
        pixels = self._coloured(pixels, rng)
        if rng.random() < self.erase:
            pixels = _erased(pixels, rng)
        return pixels

    def _coloured(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Changes brightness, contrast and saturation, always in this order."""
        if self.brightness:
            pixels = np.clip(pixels * _factor(self.brightness, rng), 0, 1)
        if self.contrast:
            pixels = _apart(pixels, _grey(pixels).mean(), self.contrast, rng)
        if self.saturation and pixels.shape[2] == len(GREY):
            pixels = _apart(pixels, _grey(pixels), self.saturation, rng)
        return pixels


OFF = Augmentation()
"""Images as they are."""

CROP_AND_FLIP = Augmentation(crop=0.08, flip=0.5)
"""What nearly all training on ImageNet does at least."""


def middle(width: int, height: int, aspect: float) -> Box:
    """Returns the largest box in the middle of an image, not longer than an aspect.

    >>> middle(100, 60, 1.0)
    (20.0, 0.0, 80.0, 60.0)
    """
    wide, high = min(width, height * aspect), min(height, width * aspect)
    left, upper = (width - wide) / 2, (height - high) / 2
    return (left, upper, left + wide, upper + high)


def _sides(area: float, aspect: float, rng: np.random.Generator) -> tuple[int, int]:
    """Draws two sides of a rectangle of a given area, at least a pixel each."""
    ratio = math.exp(rng.uniform(-math.log(aspect), math.log(aspect)))
    wide, high = math.sqrt(area * ratio), math.sqrt(area / ratio)
    return max(1, round(wide)), max(1, round(high))


def _factor(strength: float, rng: np.random.Generator) -> np.float32:
    return np.float32(rng.uniform(1 - strength, 1 + strength))


def _grey(pixels: Pixels) -> Float[np.ndarray, "height width 1"]:
    if pixels.shape[2] == len(GREY):
        return (pixels @ np.asarray(GREY, np.float32))[:, :, None]
    return pixels.mean(2, keepdims=True)


def _apart(
    pixels: Pixels,
    start: Float[np.ndarray, "height width 1"] | np.float32,
    strength: float,
    rng: np.random.Generator,
) -> Pixels:
    """Scales the distance of pixels from where they start."""
    return np.clip(start + (pixels - start) * _factor(strength, rng), 0, 1)


def _erased(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width, channels = pixels.shape
    area = height * width * rng.uniform(*ERASED_AREA)
    wide, high = _sides(area, ERASED_ASPECT, rng)
    wide, high = min(wide, width), min(high, height)
    left = rng.integers(0, width - wide, endpoint=True)
    upper = rng.integers(0, height - high, endpoint=True)
    pixels = pixels.copy()
    noise = rng.random((high, wide, channels), np.float32)
    pixels[upper : upper + high, left : left + wide] = noise
    return pixels
