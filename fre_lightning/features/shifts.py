"""Augmentation for few training images: copies of their feature maps, shifted by one cell."""

import logging

import numpy as np
from numpy.typing import NDArray

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import Rows

log = logging.getLogger(__name__)

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
    maps cost rows only, and find more defects (docs/runs.md has the measurements).

    Args:
        max_images: With more training images than this there are no copies.
        max_rows: The most maps, copies included, of all subspaces of a layer together: those of
            tiles take as much time and memory each as that of a whole image.

    Raises:
        ConfigError: If one is negative.
    """

    def __init__(self, max_images: int, max_rows: int) -> None:
        for name, number in (("max_images", max_images), ("max_rows", max_rows)):
            if number < 0:
                msg = f"augmentation.{name}={number} must not be negative."
                raise ConfigError(msg)
        self.max_images = max_images
        self.max_rows = max_rows

    def n_copies(self, n_images: int, size: tuple[int, int], n_subspaces: int = 1) -> int:
        """How many copies of maps there are, the original included: 9, 5 or 1.

        Args:
            n_images: Maps that each subspace learns from.
            size: `(h, w)` of a map.
            n_subspaces: Subspaces of the layer.
        """
        if n_images > self.max_images or max(size) == 1:
            return 1
        wanted = len(_SHIFTS) if n_images <= _MAX_FOR_DIAGONALS else _N_FOUR_SIDED
        affordable = self.max_rows // (n_images * n_subspaces)
        copies = next((n for n in (len(_SHIFTS), _N_FOUR_SIDED) if n <= min(wanted, affordable)), 1)
        if copies < wanted:
            log.info(
                "%d shifted copies of each map, not %d: %d subspaces of %d images would exceed "
                "augmentation.max_rows=%d",
                copies,
                wanted,
                n_subspaces,
                n_images,
                self.max_rows,
            )
        return copies


def shifted_copies(
    maps: NDArray[np.float32], n_copies: int, inside: NDArray[np.bool_] | None = None
) -> list[Rows]:
    """Copies of maps; the first one is not shifted.

    Args:
        maps: `(N, C, h, w)`.
        n_copies: As `CellShifts.n_copies` gives it.
        inside: `(h, w)`, the K cells that count; None: all. Into these no others are shifted.

    Returns:
        `(N, C * K)` each, of the cells inside.
    """
    inside = np.ones(maps.shape[2:], dtype=bool) if inside is None else inside
    return [_ShiftedMaps(maps, dy, dx, inside) for dy, dx in _SHIFTS[:n_copies]]


class _ShiftedMaps:
    """Maps, flattened and shifted when they are read: copies take no memory.

    Rows and columns at the border are repeated, and so are cells at the border of those inside.
    """

    def __init__(
        self, maps: NDArray[np.float32], dy: int, dx: int, inside: NDArray[np.bool_]
    ) -> None:
        n_maps, n_channels, height, width = maps.shape
        rows, columns = np.indices((height, width))
        shifted = np.clip(rows + dy, 0, height - 1)
        rows = np.where(inside[shifted, columns], shifted, rows)
        shifted = np.clip(columns + dx, 0, width - 1)
        columns = np.where(inside[rows, shifted], shifted, columns)
        cells = (rows * width + columns)[inside]
        self._maps = maps.reshape(n_maps, -1)
        self._sources = (np.arange(n_channels)[:, None] * height * width + cells).ravel()
        self.shape: tuple[int, ...] = (n_maps, len(self._sources))

    def __getitem__(self, block: tuple[slice, slice]) -> NDArray[np.float32]:
        rows, columns = block
        taken: NDArray[np.float32] = self._maps[rows].take(self._sources[columns], axis=1)
        return taken
