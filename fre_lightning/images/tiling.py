"""Which parts of images share a subspace: tiles of large and oblong images, and blocks of cells.

An image is resized to the size of the whole grid of tiles, so that small defects stay visible.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fre_lightning.errors import ConfigError
from fre_lightning.images.resizing import resize_map


class Tiling(nn.Module):
    """A grid of tiles that may overlap, and blocks of cells in the feature maps of each.

    Tiles cut images before the backbone sees them, and so make cells smaller; blocks cut the
    feature maps behind it.

    Args:
        grid: Numbers of rows and columns of tiles.
        overlap: Overlap of neighbouring tiles, as a share of a tile's side.
        shared: Whether one subspace serves all tiles (a uniform material), or each position has
            its own (a part that always lies the same way).
        blocks: Numbers of rows and columns of the blocks of a tile's cells, each of which has a
            subspace of its own.

    Raises:
        ConfigError: If one is out of range.
    """

    def __init__(
        self, grid: Sequence[int], overlap: float, shared: bool, blocks: Sequence[int]
    ) -> None:
        super().__init__()
        if len(grid) != 2 or min(grid) < 1 or not 0 <= overlap <= 0.5:
            msg = (
                f"tiling.grid={list(grid)} must be two positive numbers, [rows, columns], and "
                f"tiling.overlap={overlap} lie in [0, 0.5]."
            )
            raise ConfigError(msg)
        if len(blocks) != 2 or min(blocks) < 1:
            msg = f"tiling.blocks={list(blocks)} must be two positive numbers, [rows, columns]."
            raise ConfigError(msg)
        self.grid = (grid[0], grid[1])
        self.overlap = overlap
        self.shared = shared
        self.blocks = (blocks[0], blocks[1])

    @property
    def n_tiles(self) -> int:
        """Number of tiles per image."""
        return self.grid[0] * self.grid[1]

    @property
    def n_groups(self) -> int:
        """Number of groups of tiles: those of a group share their subspaces."""
        return 1 if self.shared else self.n_tiles

    @property
    def n_blocks(self) -> int:
        """Number of blocks per tile."""
        return self.blocks[0] * self.blocks[1]

    @property
    def n_subspaces(self) -> int:
        """Number of subspaces per layer: of each group of tiles, one for each block."""
        return self.n_groups * self.n_blocks

    def image_size(self, tile_size: tuple[int, int]) -> tuple[int, int]:
        """The size `(H, W)` of a whole image, for tiles of `(h, w)`."""
        height, width = (self._offsets(tile_size, axis)[-1] + tile_size[axis] for axis in range(2))
        return height, width

    def fingerprint(self) -> dict[str, object]:
        """The settings that change features, for the cache key."""
        return {"grid": list(self.grid), "overlap": self.overlap if self.n_tiles > 1 else 0}

    def cells_of_blocks(self, size: tuple[int, int]) -> Tensor:
        """Which cells each block consists of, row by row.

        Args:
            size: `(h, w)` of feature maps.

        Returns:
            `(B, h * w)` bool. If the numbers do not divide the size, blocks differ by a row or a
            column; if there are more blocks than cells, some are empty.
        """
        rows, columns = (
            torch.arange(side) * n // side for side, n in zip(size, self.blocks, strict=True)
        )
        blocks = (rows[:, None] * self.blocks[1] + columns).flatten()
        return blocks == torch.arange(self.n_blocks)[:, None]

    def cut(self, images: Tensor, tile_size: tuple[int, int]) -> Tensor:
        """Cut `(N, C, H, W)` images to `(N * T, C, h, w)` tiles, row by row within each image."""
        if self.n_tiles == 1:
            return images
        height, width = tile_size
        tiles = [
            images[..., top : top + height, left : left + width]
            for top in self._offsets(tile_size, 0)
            for left in self._offsets(tile_size, 1)
        ]
        return torch.stack(tiles, dim=1).flatten(0, 1)

    def lay_out(self, tile_maps: Tensor) -> Tensor:
        """Lay the `(N, T, h, w)` maps of tiles side by side: `(N, rows * h, columns * w)`."""
        height, width = tile_maps.shape[2:]
        rows, columns = self.grid
        grid = tile_maps.view(-1, rows, columns, height, width)
        return grid.transpose(2, 3).reshape(-1, rows * height, columns * width)

    def blend(self, maps: Tensor, tile_size: tuple[int, int]) -> Tensor:
        """Resize laid-out maps to whole images, blended where tiles overlap.

        Args:
            maps: `(N, rows * h, columns * w)`, from `lay_out`.
            tile_size: `(H, W)` of a tile, in pixels.

        Returns:
            Anomaly maps `(N, H, W)` of the whole images.
        """
        full = self.image_size(tile_size)
        if self.overlap == 0 or self.n_tiles == 1:
            return resize_map(maps, full)
        rows, columns = self.grid
        cell_rows, cell_columns = maps.shape[1] // rows, maps.shape[2] // columns
        (height, width), total = tile_size, maps.new_zeros(maps.shape[0], *full)
        weight, tile_weight = maps.new_zeros(full), _tent(tile_size).to(maps)
        for i, top in enumerate(self._offsets(tile_size, 0)):
            for j, left in enumerate(self._offsets(tile_size, 1)):
                part = maps[:, i * cell_rows :, j * cell_columns :][:, :cell_rows, :cell_columns]
                window = (..., slice(top, top + height), slice(left, left + width))
                total[window] += tile_weight * resize_map(part, tile_size)
                weight[window] += tile_weight
        return total / weight

    def _offsets(self, tile_size: tuple[int, int], axis: int) -> list[int]:
        stride = tile_size[axis] - round(self.overlap * tile_size[axis])
        return [i * stride for i in range(self.grid[axis])]


def _tent(size: tuple[int, int]) -> Tensor:
    """Positive weights `(h, w)` that fall linearly from the middle to the borders."""
    sides = (torch.arange(n) + 0.5 for n in size)
    rows, columns = (torch.minimum(side, n - side) for side, n in zip(sides, size, strict=True))
    return rows[:, None] * columns
