"""More to learn from where there are few images: their feature maps, shifted by one cell."""

import numpy as np
from numpy.typing import NDArray

from fre_lightning.errors import ConfigError

# Rows and columns that a copy is shifted by; first none, then to the four sides, then the corners.
_SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_N_FOUR_SIDED = 5

_MAX_FOR_DIAGONALS = 64
"""Up to so many images the diagonal shifts pay, too."""


class CellShifts:
    """Copies of training feature maps, shifted by a cell to four or eight sides.

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
        """How often each of the feature maps `(h, w)` is there, itself included: 9, 5 or 1."""
        if n_images > self.max_images or max(size) == 1:
            return 1
        return len(_SHIFTS) if n_images <= _MAX_FOR_DIAGONALS else _N_FOUR_SIDED

    def __call__(self, maps: NDArray[np.float32], n_copies: int) -> list["ShiftedMaps"]:
        """So many copies of `(N, C, h, w)` maps; the first is the maps as they are."""
        return [ShiftedMaps(maps, dy, dx) for dy, dx in _SHIFTS[:n_copies]]


class ShiftedMaps:
    """Feature maps, flattened and shifted as they are read: copies take no memory.

    Attributes:
        shape: `(N, C * h * w)`.
    """

    shape: tuple[int, ...]

    def __init__(self, maps: NDArray[np.float32], dy: int, dx: int) -> None:
        """Hold `(N, C, h, w)` maps; rows and columns that enter repeat those at the border."""
        n_maps, n_channels, height, width = maps.shape
        rows = np.clip(np.arange(height) + dy, 0, height - 1)
        columns = np.clip(np.arange(width) + dx, 0, width - 1)
        cells = (rows[:, None] * width + columns).ravel()
        self._maps = maps.reshape(n_maps, -1)
        self._sources = (np.arange(n_channels)[:, None] * height * width + cells).ravel()
        self.shape = self._maps.shape

    def __len__(self) -> int:
        """The number of maps."""
        return len(self._maps)

    def __getitem__(self, block: tuple[slice, slice]) -> NDArray[np.float32]:
        """Some rows and columns of the shifted maps, `(n, d)`."""
        rows, columns = block
        taken: NDArray[np.float32] = self._maps[rows].take(self._sources[columns], axis=1)
        return taken
