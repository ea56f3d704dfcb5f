"""The learnt part of one layer: features to error maps, by one subspace or one per tile."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fre_lightning.features.cache import CachedRows
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.shifts import CellShifts, shifted_copies
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import PCA, Reducer
from fre_lightning.reducers.cross_fit import held_out_errors
from fre_lightning.reducers.subspace import find_subspace
from fre_lightning.scoring.rule import error_map

_NOISE_SHARE = 0.97
"""Share of the variance that counts as common to images; the rest counts as noise."""


class Branch(nn.Module):
    """Turns the features of one layer into error maps.

    Args:
        standardizer: Applied to the pooled, flattened features before the reducers. It learns from
            the training features, so its result is never cached.
        reducers: One, or one for each tile.
        tiling: How images are cut.
    """

    def __init__(
        self, standardizer: ChannelStandardizer, reducers: Sequence[Reducer], tiling: Tiling
    ) -> None:
        super().__init__()
        self.standardizer = standardizer
        self._reducers = nn.ModuleList(reducers)
        self.tiling = tiling

    @property
    def reducers(self) -> list[Reducer]:
        """The reducers."""
        return list(self._reducers)  # type: ignore[arg-type]  # a ModuleList forgets its type

    def standardize(self, rows: CachedRows) -> list[FeatureMatrix]:
        """Fit the standardizer to training features, and return those of each tile, standardised.

        Args:
            rows: Of `(T, C, h, w)` features, T tiles of each image.

        Returns:
            `(N, C * h * w)` of each tile.
        """
        _, n_channels, height, width = rows.row_shape
        tiles = [shard.reshape(-1, n_channels, height, width) for shard in rows.shards]
        self.standardizer.fit(FeatureMatrix(tiles), n_channels)
        return self.standardized(rows)

    def standardized(self, rows: CachedRows) -> list[FeatureMatrix]:
        """Features of each tile, `(N, C * h * w)`, standardised as they were learnt."""
        return [
            FeatureMatrix([shard[:, tile] for shard in rows.shards], self.standardizer)
            for tile in range(rows.row_shape[0])
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
        n_tiles, n_channels, height, width = rows.row_shape
        if folds is not None and self.standardizer.compression != "none":
            self.standardizer.damp_noise(self._channel_errors(rows, folds, device))
        tiles_per_subspace = n_tiles // self.tiling.n_subspaces
        n_maps = len(rows.indices) * tiles_per_subspace
        n_copies = shifts.n_copies(n_maps, (height, width), len(self.reducers)) if shifts else 1
        maps = []
        for reducer, shards in zip(self.reducers, self._split(rows), strict=True):
            subspace = reducer.fit(self._matrix(shards, rows, n_copies), device)
            if folds is not None:
                requested = reducer.n_components_requested
                held_out = held_out_errors(
                    subspace,
                    reducer.n_components if isinstance(requested, str) else requested,
                    torch.arange(height * width).repeat(n_channels),
                    folds.repeat_interleave(tiles_per_subspace).repeat(n_copies),
                    n_maps,
                )
                maps.append(held_out.view(-1, tiles_per_subspace, height, width))
        return self.tiling.lay_out(torch.cat(maps, dim=1)) if maps else None

    def update(self, rows: CachedRows, folds: Tensor, device: torch.device, n_known: int) -> Tensor:
        """Learn further images, without those that it was fitted on; the standardizer stays.

        Args:
            rows: Of their features `(T, C, h, w)`.
            folds: `(N,)` int64, the fold that holds out each of them.
            device: Where to compute.
            n_known: The number of images that it was fitted on. As many shifted copies of the
                further ones are made as there were of these.

        Returns:
            Their held-out error maps `(N, rows * h, columns * w)`: those of an image under what is
            learnt from the old images and the other folds.
        """
        n_tiles, n_channels, height, width = rows.row_shape
        tiles_per_subspace = n_tiles // self.tiling.n_subspaces
        n_maps = len(rows.indices) * tiles_per_subspace
        positions = torch.arange(height * width).repeat(n_channels)
        maps = []
        for reducer, shards in zip(self.reducers, self._split(rows), strict=True):
            assert isinstance(reducer, PCA)
            n_copies = round(float(reducer.n_rows)) // (n_known * tiles_per_subspace)
            merge = reducer.update(self._matrix(shards, rows, n_copies), device)
            row_folds = folds.repeat_interleave(tiles_per_subspace).repeat(n_copies)
            held_out = merge.held_out_errors(positions, row_folds, n_maps)
            maps.append(held_out.view(-1, tiles_per_subspace, height, width))
        return self.tiling.lay_out(torch.cat(maps, dim=1))

    def _matrix(self, shards: list[Any], rows: CachedRows, n_copies: int) -> FeatureMatrix:
        """The standardised features of a subspace, and their shifted copies."""
        features = FeatureMatrix(shards, self.standardizer)
        if n_copies == 1:
            return features
        # Copies of what is standardised, not to do that for each copy.
        originals = features.block(slice(None)).view(-1, *rows.row_shape[1:])
        return FeatureMatrix(shifted_copies(originals.numpy(), n_copies), n_copies=n_copies)

    def _channel_errors(self, rows: CachedRows, folds: Tensor, device: torch.device) -> Tensor:
        """Mean squared held-out error of each standardised channel, `(C,)`."""
        n_tiles, n_channels, height, width = rows.row_shape
        channels = torch.arange(n_channels).repeat_interleave(height * width)
        tile_folds = folds.repeat_interleave(n_tiles // self.tiling.n_subspaces)
        errors = []
        for shards in self._split(rows):
            subspace = find_subspace(FeatureMatrix(shards, self.standardizer), device)
            sums = held_out_errors(subspace, _NOISE_SHARE, channels, tile_folds)
            errors.append(sums.mean(dim=0) / (height * width))
        return torch.stack(errors).mean(dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """Error maps `(N, rows * h, columns * w)` of features `(N, T, C, h, w)`."""
        groups, maps = features.chunk(self.tiling.n_subspaces, dim=1), []
        for group, reducer in zip(groups, self.reducers, strict=True):
            _, n_tiles, n_channels, height, width = group.shape
            flat = self.standardizer(group.flatten(0, 1).flatten(1))
            tile_maps = error_map(flat - reducer(flat), (n_channels, height, width))
            maps.append(tile_maps.view(-1, n_tiles, height, width))
        return self.tiling.lay_out(torch.cat(maps, dim=1))

    def _split(self, rows: CachedRows) -> list[list[Any]]:
        """The shards of each subspace's features: all tiles of all images, or of one position."""
        if self.tiling.shared:
            return [[shard.reshape(-1, *shard.shape[2:]) for shard in rows.shards]]
        return [[shard[:, tile] for shard in rows.shards] for tile in range(rows.row_shape[0])]
