"""The learnt part of one layer: features to error maps, by one subspace or several."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from fre_lightning.detector.partition import Partition
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.cells import CellWeights
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.shifts import CellShifts, shifted_copies
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import PCA, Reducer
from fre_lightning.reducers.cross_fit import held_out_errors
from fre_lightning.reducers.rank import rank_of_refits
from fre_lightning.reducers.subspace import find_subspace
from fre_lightning.scoring.rule import error_map

_NOISE_SHARE = 0.97
"""Share of the variance that counts as common to images; the rest counts as noise."""


class Branch(nn.Module):
    """Turns the features of one layer into error maps.

    Args:
        standardizer: Applied to the pooled, flattened features before the reducers. It learns from
            the training features, so its result is never cached.
        reducers: One for each subspace of the tiling.
        tiling: How images are cut, and which of their cells share a subspace.
    """

    def __init__(
        self, standardizer: ChannelStandardizer, reducers: Sequence[Reducer], tiling: Tiling
    ) -> None:
        super().__init__()
        self.standardizer = standardizer
        self._reducers = nn.ModuleList(reducers)
        self._cells = nn.ModuleList(CellWeights() for _ in reducers)
        self._of_rows: Tensor | None = None
        self.tiling = tiling
        self._partition = Partition(tiling)

    @property
    def cells(self) -> list[CellWeights]:
        """The weights of cells in each subspace."""
        return list(self._cells)  # type: ignore[arg-type]  # a ModuleList forgets its type

    @property
    def reducers(self) -> list[Reducer]:
        """The reducers, without those of tiles or blocks of which nothing counts."""
        pairs = zip(self._reducers, self.cells, strict=True)
        return [reducer for reducer, cells in pairs if not cells.is_empty]  # type: ignore[misc]

    def weigh(self, weights: Tensor) -> None:
        """Let parts of the maps count, before all else is learnt.

        Args:
            weights: `(n, T, h, w)` from 0 to 1, of the cells in each of n training images; n = 1:
                in all images.
        """
        self._keep_blocks(weights)
        self._of_rows = weights.flatten(2).flatten(0, 1)

    def _keep_blocks(self, weights: Tensor) -> None:
        """Let each subspace keep its cells, with weights `(n, T, h, w)`."""
        blocks = self.tiling.cells_of_blocks((weights.shape[2], weights.shape[3]))
        parts = self._partition.weights(weights)
        for cells, part, block in zip(self.cells, parts, cycle(blocks), strict=False):
            assert part is not None
            cells.use(part, block)

    def standardize(self, rows: CachedRows) -> list[FeatureMatrix]:
        """Fit the standardizer to training features, and return those of each tile, standardised.

        Args:
            rows: Of `(T, C, h, w)` features, T tiles of each image.

        Returns:
            `(N, C * h * w)` of each tile.
        """
        n_tiles, n_channels, height, width = rows.row_shape
        if self.tiling.n_blocks > 1 and not self.cells[0].is_used:
            device = self.standardizer.scale.device
            self._keep_blocks(torch.ones(1, n_tiles, height, width, device=device))
        tiles = [shard.reshape(-1, n_channels, height, width) for shard in rows.shards]
        self.standardizer.fit(FeatureMatrix(tiles), n_channels, self._of_rows)
        return self.standardized(rows)

    def standardized(self, rows: CachedRows) -> list[FeatureMatrix]:
        """Features of each tile, `(N, C * h * w)`, standardised as they were learnt, weighed."""
        n_tiles, n_channels = rows.row_shape[:2]
        of_groups = self.cells[:: self.tiling.n_blocks]  # blocks keep different cells, not weights
        weights = [row for cells in of_groups if cells.is_used for row in cells.weights.cpu()]
        roots = [row.sqrt().repeat(n_channels) for row in weights]

        def transform(block: Tensor, first_column: int, tile: int) -> Tensor:
            block = self.standardizer(block, first_column)
            return block * roots[tile][first_column:][: block.shape[1]] if roots else block

        return [
            FeatureMatrix([shard[:, tile] for shard in rows.shards], partial(transform, tile=tile))
            for tile in range(n_tiles)
        ]

    def fit(
        self,
        rows: CachedRows,
        folds: Tensor | None,
        device: torch.device,
        shifts: CellShifts | None = None,
    ) -> Tensor | None:
        """Learn from training features, to which the standardizer is fitted.

        Args:
            rows: Of `(T, C, h, w)` features, T tiles of each image.
            folds: `(N,)` int64, the fold that holds out each image; or None.
            device: Where to compute.
            shifts: Makes shifted copies of the features to learn from; None if there are none.

        Returns:
            Held-out error maps `(N, rows * h, columns * w)`: those of an image under the subspace
            of all other folds. None without folds.

        Raises:
            FREError: As the reducer does.
        """
        n_channels, height, width = rows.row_shape[1:]
        if folds is not None and self.standardizer.compression != "none":
            self.standardizer.damp_noise(self._channel_errors(rows, folds, device))
        n_maps = len(rows.indices) * self._partition.n_tiles
        n_whole = -(-len(self.reducers) // self.tiling.n_blocks)  # that many take as much memory
        n_copies = shifts.n_copies(n_maps, (height, width), n_whole) if shifts else 1
        maps = []
        for reducer, cells, shards in self._subspaces(rows):
            if cells.is_empty:
                maps.append(torch.zeros(n_maps, height * width))
                continue
            cells.fit(FeatureMatrix(shards, self.standardizer))
            features = self._matrix(shards, rows, n_copies, cells)
            subspace = reducer.fit(features, device)
            if folds is not None:
                requested, rank = reducer.n_components_requested, reducer.n_components
                held_out = held_out_errors(
                    subspace,
                    rank_of_refits(requested, rank, n_copies),
                    _positions(features, n_channels),
                    folds.repeat_interleave(self._partition.n_tiles).repeat(n_copies),
                    n_maps,
                )
                maps.append(cells.spread(held_out))
        return self._partition.join(maps, (height, width)) if folds is not None else None

    def update(
        self,
        rows: CachedRows,
        folds: Tensor,
        device: torch.device,
        n_known: int,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Learn further images, without those that it was fitted on; the standardizer stays.

        Args:
            rows: Of their features `(T, C, h, w)`.
            folds: `(N,)` int64, the fold that holds out each of them.
            device: Where to compute.
            n_known: The number of images that it was fitted on. As many shifted copies of the
                further ones are made as there were of these.
            weights: As in `forward`.

        Returns:
            Their held-out error maps `(N, rows * h, columns * w)`: those of an image under what is
            learnt from the old images and the other folds.
        """
        n_channels, height, width = rows.row_shape[1:]
        n_maps = len(rows.indices) * self._partition.n_tiles
        maps = []
        for (reducer, cells, shards), part in zip(
            self._subspaces(rows), self._partition.weights(weights), strict=True
        ):
            if cells.is_empty:
                maps.append(torch.zeros(n_maps, height * width))
                continue
            assert isinstance(reducer, PCA)
            cells.use_for_rows(part)
            n_copies = round(float(reducer.n_rows)) // (n_known * self._partition.n_tiles)
            features = self._matrix(shards, rows, n_copies, cells)
            merge = reducer.update(features, device)
            row_folds = folds.repeat_interleave(self._partition.n_tiles).repeat(n_copies)
            held_out = merge.held_out_errors(_positions(features, n_channels), row_folds, n_maps)
            maps.append(cells.spread(held_out))
        return self._partition.join(maps, (height, width))

    def _matrix(
        self, shards: list[Any], rows: CachedRows, n_copies: int, cells: CellWeights
    ) -> FeatureMatrix:
        """The standardised features of a subspace, and their shifted copies, weighed."""
        features = FeatureMatrix(shards, self.standardizer)
        if n_copies > 1:  # of what is standardised, not to do that for each copy
            originals = features.block(slice(None)).view(-1, *rows.row_shape[1:])
            inside = cells.inside((rows.row_shape[2], rows.row_shape[3]))
            copies = shifted_copies(cells.fill(originals).numpy(), n_copies, inside)
            features = FeatureMatrix(copies, n_copies=n_copies)
        return cells.weigh(features)

    def _channel_errors(self, rows: CachedRows, folds: Tensor, device: torch.device) -> Tensor:
        """Mean squared held-out error of each standardised channel, `(C,)`."""
        n_channels, height, width = rows.row_shape[1:]
        tile_folds = folds.repeat_interleave(self._partition.n_tiles)
        errors = []
        for _, cells, shards in self._subspaces(rows):
            if cells.is_empty:
                continue
            features = FeatureMatrix(shards, self.standardizer)
            cells.fit(features)
            features = cells.weigh(features)
            channels = torch.arange(n_channels).repeat_interleave(features.shape[1] // n_channels)
            subspace = find_subspace(features, device, _NOISE_SHARE)
            sums = held_out_errors(subspace, _NOISE_SHARE, channels, tile_folds)
            errors.append(sums.mean(dim=0) / (height * width))
        return torch.stack(errors).mean(dim=0)

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """Error maps of images.

        Args:
            features: `(N, T, C, h, w)`.
            weights: `(N, T, h, w)`, the weights of cells in each image, none higher than those of
                `weigh`; None: these.

        Returns:
            `(N, rows * h, columns * w)`.
        """
        n_channels, height, width = features.shape[2:]
        groups = (  # one at a time, as they take memory
            self.standardizer(group.flatten(0, 1).flatten(1))
            for group in features.chunk(self.tiling.n_groups, dim=1)
        )
        maps = []
        for group, reducer, cells, part in zip(
            self._partition.of_each(groups),
            self._reducers,
            self.cells,
            self._partition.weights(weights),
            strict=True,
        ):
            if cells.is_empty:
                maps.append(group.new_zeros(group.shape[0], height * width))
                continue
            flat = cells(group, None if part is None else part.flatten(0, 1))
            shape = n_channels, flat.shape[1] // n_channels, 1
            maps.append(cells.spread(error_map(flat - reducer(flat), shape)[..., 0]))
        return self._partition.join(maps, (height, width))

    def _subspaces(self, rows: CachedRows) -> Iterator[tuple[Any, CellWeights, list[Any]]]:
        """The reducer, the weights of cells and the shards of each subspace."""
        return zip(self._reducers, self.cells, self._partition.shards(rows), strict=True)


def _positions(features: FeatureMatrix, n_channels: int) -> Tensor:
    """The number of the cell of each column of `(N, C * K)` features."""
    return torch.arange(features.shape[1] // n_channels).repeat(n_channels)
