"""Which tiles and cells belong to each subspace of a layer, and their maps as one again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from fre_lightning.features.cache import CachedRows
from fre_lightning.images.tiling import Tiling


class Partition:
    """Deals what belongs to the tiles and cells of a layer to its subspaces, in their order.

    There is a subspace for each block of cells, of all tiles or of each position's.

    Args:
        tiling: How images are cut.
    """

    def __init__(self, tiling: Tiling) -> None:
        self.tiling = tiling

    @property
    def n_tiles(self) -> int:
        """The number of tiles of an image that share a subspace."""
        return self.tiling.n_tiles // self.tiling.n_groups

    def of_each(self, groups: Iterable[Any]) -> Iterator[Any]:
        """What belongs to each group of tiles, for each of its subspaces."""
        return (group for group in groups for _ in range(self.tiling.n_blocks))

    def shards(self, rows: CachedRows) -> Iterator[list[Any]]:
        """The shards of each subspace's features: all tiles of all images, or of one position.

        Args:
            rows: Of `(T, C, h, w)` features.

        Returns:
            Of each, arrays `(n, C, h, w)` of all cells.
        """
        if self.tiling.shared:
            return self.of_each([[s.reshape(-1, *s.shape[2:]) for s in rows.shards]])
        tiles = range(rows.row_shape[0])
        return self.of_each([[shard[:, tile] for shard in rows.shards] for tile in tiles])

    def weights(self, weights: Tensor | None) -> Iterator[Tensor | None]:
        """Weights `(N, T, h, w)` as those of each subspace, `(N, t, h * w)` of t tiles."""
        n_groups = self.tiling.n_groups
        if weights is None:
            return self.of_each([None] * n_groups)
        return self.of_each(weights.flatten(2).chunk(n_groups, dim=1))

    def join(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The maps of subspaces as those of whole images.

        Args:
            maps: `(N * t, h * w)` of each subspace, 0 in the cells of others.
            size: `(h, w)`.

        Returns:
            `(N, rows * h, columns * w)`.
        """
        n_blocks = self.tiling.n_blocks
        groups = [sum(maps[i + 1 : i + n_blocks], maps[i]) for i in range(0, len(maps), n_blocks)]
        return self.tiling.lay_out(
            torch.cat([group.view(-1, self.n_tiles, *size) for group in groups], dim=1)
        )
