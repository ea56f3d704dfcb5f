"""The model of a detector: a backbone, a branch for each of its layers, and a scoring."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from fre_lightning.backbones import Backbone
from fre_lightning.collective import from_first
from fre_lightning.detector.image_model import ImageModel
from fre_lightning.detector.layer import Branch
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.shifts import CellShifts
from fre_lightning.images.region import cell_weights
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import Reducer
from fre_lightning.scoring import Calibration, Scoring
from fre_lightning.scoring.groups import find_groups

log = logging.getLogger(__name__)


class FREModel(ImageModel):
    """Maps images to image scores and anomaly maps; plain torch.

    Args:
        backbone: Computes features.
        branches: One for each of the backbone's layers; they learn the subspaces.
        scoring: Turns error maps into scores and anomaly maps.
        calibration: Holds the scores of normal images.
        tiling: How images are cut.
        n_train: The number of images that it was fitted on; 0 before `fit`.

    Attributes:
        region: `(H, W)` bool, where images count; None: everywhere.
    """

    region: Tensor | None

    def __init__(
        self,
        backbone: Backbone,
        branches: Sequence[Branch],
        scoring: Scoring,
        calibration: Calibration,
        tiling: Tiling,
        n_train: int = 0,
    ) -> None:
        super().__init__(backbone, tiling)
        self.branches = nn.ModuleList(branches)
        self.scoring = scoring
        self.calibration = calibration
        self.n_train = n_train
        self.add_optional_buffers("region")
        scoring.owners = [i for i, part in enumerate(backbone.parts) for _ in part.layers]

    @property
    def device(self) -> torch.device:
        """The device of its buffers."""
        return self.calibration.image_scores.device

    @property
    def reducers(self) -> list[Reducer]:
        """The reducers of all branches."""
        return [reducer for branch in self._branches for reducer in branch.reducers]

    @property
    def is_fitted(self) -> bool:
        """Whether it can score images."""
        return self.reducers[0].is_fitted

    @property
    def _branches(self) -> list[Branch]:
        return list(self.branches)  # type: ignore[arg-type]  # a ModuleList forgets its type

    @property
    def description(self) -> str:
        """Backbone, weights and reducer, for the log."""
        backbone, (height, width) = self.backbone, self.image_size
        source = f"{backbone.name} {'+'.join(backbone.layers)} ({backbone.weights_label})"
        return f"{source} at {height}x{width}, {self.reducers[0].name}"

    def standardized(self, rows: CachedRows) -> list[FeatureMatrix]:
        """The last layer's features `(T, C, h, w)` of images, standardised, of each tile."""
        return self._branches[-1].standardized(rows)

    def layer_maps_of(
        self, features: Sequence[Tensor], weights: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Error maps `(N, h, w)` of each layer.

        Args:
            features: `(N, T, C, h, w)` of each layer.
            weights: `(N, T, h, w)` of each layer's cells; None: those of the model's region.
        """
        each: Sequence[Tensor | None] = weights or [None] * len(features)
        layers = zip(self._branches, features, each, strict=True)
        with full_precision():
            return [branch(layer, weight) for branch, layer, weight in layers]

    def error_maps_of(self, features: Sequence[Tensor], regions: Tensor | None = None) -> Tensor:
        """Normalised, fused error maps `(N, h, w)` of images.

        Args:
            features: `(N, T, C, h, w)` of each layer.
            regions: `(N, H, W)` bool, where each image counts, within the model's own region; None:
                in all of that.
        """
        weights = self.weights_of(features, regions)
        with full_precision():
            maps = self.layer_maps_of(features, weights)
            return self.scoring.normalize(maps, self.lay_out(weights))

    def scores_of(self, error_maps: Tensor, regions: Tensor | None = None) -> Tensor:
        """Scores `(N,)` of normalised error maps `(N, h, w)`; regions as in `error_maps_of`."""
        return self.scoring.image_score(error_maps, self._map_weights(error_maps, regions))

    def anomaly_maps_of(self, error_maps: Tensor, regions: Tensor | None = None) -> Tensor:
        """Anomaly maps `(N, H, W)` of normalised error maps `(N, h, w)`, 0 where nothing counts."""
        weights, size = self._map_weights(error_maps, regions), self.backbone.image_size
        with full_precision():
            maps = self.scoring.anomaly_map(error_maps, size, self.tiling, weights)
        inside = self.region if regions is None else regions
        return maps if inside is None else maps * inside

    def forward(self, images: Tensor, regions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores and anomaly maps.

        Args:
            images: `(N, 3, H, W)` uint8.
            regions: As in `error_maps_of`.

        Returns:
            `(N,)` and `(N, H, W)`, float32.
        """
        features = [layer.float() for layer in self.features_of(images)]
        maps = self.error_maps_of(features, regions)
        return self.scores_of(maps, regions), self.anomaly_maps_of(maps, regions)

    def weights_of(self, features: Sequence[Tensor], regions: Tensor | None) -> list[Tensor] | None:
        """The weights of each layer's cells in images that have regions of their own.

        Args:
            features: `(N, T, C, h, w)` of each layer.
            regions: As in `error_maps_of`.

        Returns:
            `(N, T, h, w)` each; None without regions.
        """
        if regions is None:
            return None
        return self._weights_of(regions, [layer.shape[3:] for layer in features])

    def lay_out(self, weights: Sequence[Tensor] | None) -> list[Tensor] | None:
        """Weights `(N, T, h, w)` as those of maps, `(N, rows * h, columns * w)`."""
        return None if weights is None else [self.tiling.lay_out(layer) for layer in weights]

    def _weights_of(self, regions: Tensor, grids: Sequence[Sequence[int]]) -> list[Tensor]:
        """The weights `(N, T, h, w)` of the cells of each layer's grid `(h, w)`."""
        size = self.backbone.image_size
        return [cell_weights(regions, self.tiling, size, (grid[0], grid[1])) for grid in grids]

    def _map_weights(self, error_maps: Tensor, regions: Tensor | None) -> Tensor | None:
        """The weights `(N, h, w)` of the cells of normalised maps; None: those of the model."""
        if regions is None:
            return None
        (rows, columns), (height, width) = self.tiling.grid, error_maps.shape[1:]
        (weights,) = self._weights_of(regions, [(height // rows, width // columns)])
        return self.tiling.lay_out(weights)

    def fit(
        self,
        layers: Sequence[CachedRows],
        device: torch.device,
        shifts: CellShifts | None,
        groups: Tensor | None = None,
        regions: Tensor | None = None,
    ) -> None:
        """Fit all but the autoencoders' weights, and calibrate.

        Args:
            layers: Each layer's training features `(T, C, h, w)`.
            device: Where to compute.
            shifts: Makes shifted copies of the features to learn from; None if there are none.
            groups: `(N,)` int64 from 0 to G - 1, the group of each image, if they were named.
            regions: `(N, H, W)` bool, where each image counts; `(1, H, W)` if that is the same in
                all; None: everywhere. What counts in no image never will.

        Raises:
            FREError: As the reducer does.
        """
        self.n_train = len(layers[0].indices)
        weights = None if regions is None else self._weigh(layers, regions.to(self.device))
        for branch, rows in zip(self._branches, layers, strict=True):
            tiles = branch.standardize(rows)
        if self.calibration.groups == "auto":
            # Of the last layer: similar there is similar enough.
            groups = from_first(lambda: find_groups(tiles))
        folds = self.calibration.draw_folds(self.n_train, groups)
        held_out = [
            branch.fit(rows, folds, device, shifts)
            for branch, rows in zip(self._branches, layers, strict=True)
        ]
        if folds is not None:
            found = [maps for maps in held_out if maps is not None]
            self.calibration.fit(found, self.scoring, weights)
        self.round_weights()

    def round_weights(self) -> None:
        """Round reducers as checkpoints store them, so that these give the same scores exactly.

        That halves a checkpoint, and moves scores by about 1e-5 of their size.
        """
        for reducer in self.reducers:
            reducer.round_weights()

    def _weigh(self, layers: Sequence[CachedRows], regions: Tensor) -> list[Tensor] | None:
        """Let regions count, and return the weights of cells if they differ between images."""
        self.region = regions.any(dim=0)
        weights = self._weights_of(regions, [rows.row_shape[2:] for rows in layers])
        for branch, layer in zip(self._branches, weights, strict=True):
            branch.weigh(layer)
        self.scoring.weigh([self.tiling.lay_out(layer).amax(dim=0) for layer in weights])
        return self.lay_out(weights) if len(regions) > 1 else None

    def update(
        self, layers: Sequence[Tensor], weights: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Learn further images, without those of the fit; scoring and calibration stay.

        Args:
            layers: Each layer's features `(N, T, C, h, w)` of the further images, at least three.
            weights: As in `layer_maps_of`.

        Returns:
            Their held-out error maps `(N, h, w)` of each layer.
        """
        n_images = len(layers[0])
        indices = list(range(n_images))
        rows = [CachedRows([f.cpu().numpy()], indices, [], was_computed=True) for f in layers]
        groups = None
        if self.calibration.groups != "none":  # groups that were named are of the first images
            groups = find_groups(self.standardized(rows[-1]))
        if groups is not None and not groups.any():
            log.warning("The further images are one recording: thresholds hold within it alone.")
            groups = None
        folds = self.calibration.draw_folds(n_images, groups)
        assert folds is not None
        cells: Sequence[Tensor | None] = weights or [None] * len(rows)
        held_out = [
            branch.update(each, folds, self.device, self.n_train, weight)
            for branch, each, weight in zip(self._branches, rows, cells, strict=True)
        ]
        self.n_train += n_images
        self.round_weights()
        return held_out


def full_precision() -> AbstractContextManager[object]:
    """Let reducers work in float32 whatever the backbone's precision."""
    for device_type in ("cpu", "cuda"):
        if torch.is_autocast_enabled(device_type):
            return torch.autocast(device_type, enabled=False)
    return nullcontext()
