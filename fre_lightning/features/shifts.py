"""Augmentation for few training images: copies of their feature maps, shifted by one cell."""

import numpy as np
from numpy.typing import NDArray

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import Rows

# Shifts of the copies in rows and columns: none, then to the four sides, then to the corners.
_SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_N_FOUR_SIDED = 5

_MAX_FOR_DIAGONALS = 64
"""Up to this many images, diagonal shifts help as well."""


class CellShifts:
    """Copies of training feature maps, shifted by one cell to four or eight sides.

    No part lies in exactly the same place twice. From many images the subspace learns how a map
    changes with a shift. From few it cannot, but the difference between a map and its one-cell
    shift approximates that direction. Copies of images would have to pass the backbone; copies of
    maps cost rows only, and find more defects (see the README for the measurements).

    Args:
        max_images: With more training images than this there are no copies.

    Raises:
        ConfigError: If it is negative.
    """

    def __init__(self, max_images: int) -> None:
        if max_images < 0:
            msg = f"augmentation.max_images={max_images} must not be negative."
            raise ConfigError(msg)
        self.max_images = max_images

    def n_copies(self, n_images: int, size: tuple[int, int]) -> int:
        """How many copies of maps `(h, w)` there are, the original included: 9, 5 or 1."""
        if n_images > self.max_images or max(size) == 1:
            return 1
        return len(_SHIFTS) if n_images <= _MAX_FOR_DIAGONALS else _N_FOUR_SIDED


def shifted_copies(maps: NDArray[np.float32], n_copies: int) -> list[Rows]:
    """Copies of `(N, C, h, w)` maps as `(N, C * h * w)`; the first one is not shifted."""
    return [_ShiftedMaps(maps, dy, dx) for dy, dx in _SHIFTS[:n_copies]]


class _ShiftedMaps:
    """Maps, flattened and shifted when they are read: copies take no memory.

    Rows and columns at the border are repeated.
    """

    def __init__(self, maps: NDArray[np.float32], dy: int, dx: int) -> None:
        n_maps, n_channels, height, width = maps.shape
        rows = np.clip(np.arange(height) + dy, 0, height - 1)
        columns = np.clip(np.arange(width) + dx, 0, width - 1)
        cells = (rows[:, None] * width + columns).ravel()
        self._maps = maps.reshape(n_maps, -1)
        self._sources = (np.arange(n_channels)[:, None] * height * width + cells).ravel()
        self.shape: tuple[int, ...] = self._maps.shape

    def __getitem__(self, block: tuple[slice, slice]) -> NDArray[np.float32]:
        rows, columns = block
        taken: NDArray[np.float32] = self._maps[rows].take(self._sources[columns], axis=1)
        return taken
