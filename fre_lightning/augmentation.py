"""More to learn from where there are few images: their feature maps, shifted by one cell."""

import numpy as np
from numpy.typing import NDArray

from fre_lightning.errors import ConfigError

_STEPS = (0, -1, 1)


class CellShifts:
    """Copies of training feature maps, shifted by a cell to each of the eight sides.

    No part lies in the same place twice. Many images show a subspace how a map changes then; few
    do not, but it is known: to a shift by some pixels the axis from a map to its shifted copy
    comes near. Copies of images would have to go through the backbone; those of maps cost
    nothing but rows, and find more (see the README for what was measured).
    """

    def __init__(self, max_images: int) -> None:
        """Store settings.

        Args:
            max_images: With more training images than these there are no copies.

        Raises:
            ConfigError: If it is negative.
        """
        if max_images < 0:
            msg = f"augmentation.max_images={max_images} must not be negative."
            raise ConfigError(msg)
        self.max_images = max_images

    def n_copies(self, n_images: int, size: tuple[int, int]) -> int:
        """How often each of the feature maps `(h, w)` is there, itself included."""
        return len(_STEPS) ** 2 if n_images <= self.max_images and max(size) > 1 else 1

    def __call__(self, maps: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All copies of `(N, C, h, w)` maps: nine views, the first of the maps as they are.

        Cells at the border are repeated.
        """
        height, width = maps.shape[2:]
        padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        return [
            padded[:, :, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            for dy in _STEPS
            for dx in _STEPS
        ]
