"""How images are cut into square patches, as plain values."""

import dataclasses

from supernets.model import Example


@dataclasses.dataclass(frozen=True)
class PatchGrid:
    """The square patches that cover an image (Dosovitskiy 2021, section 3.1).

    Attributes:
        image: Height, width and channels.
        side: Of a patch.

    Raises:
        ValueError: If a size is not positive, or if patches do not cover the image.
    """

    image: tuple[int, int, int]
    side: int

    def __post_init__(self) -> None:
        if min(*self.image, self.side) < 1:
            raise ValueError(
                f"image and patch must be positive, got {self.image} and {self.side}"
            )
        if self.image[0] % self.side or self.image[1] % self.side:
            raise ValueError(
                f"patches of side {self.side} do not divide an image of "
                f"{self.image[0]} x {self.image[1]}"
            )

    @property
    def count(self) -> int:
        """Number of patches of an image."""
        return self.image[0] * self.image[1] // self.side**2

    @property
    def values(self) -> int:
        """Number of values in a patch."""
        return self.side**2 * self.image[2]

    def require(self, example: Example) -> None:
        """Makes sure that inputs are images of this size.

        Raises:
            ValueError: If they are not.
        """
        if example != self.image:
            raise ValueError(
                f"the model reads images of height, width and channels {self.image}, "
                f"got inputs of shape {example}; give it image={example}"
            )
