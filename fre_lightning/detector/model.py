"""The model of a detector: a backbone, a branch for each of its layers, and a scoring."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from fre_lightning.backbones import Backbone
from fre_lightning.backbones.extractor import Extractor
from fre_lightning.detector.layer import Branch
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.shifts import CellShifts
from fre_lightning.images.intensity import Intensity
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import Reducer
from fre_lightning.scoring import Calibration, Scoring
from fre_lightning.scoring.groups import find_groups


class FREModel(nn.Module):
    """Maps images to image scores and anomaly maps; plain torch.

    Args:
        backbone: Computes features.
        branches: One for each of the backbone's layers; they learn the subspaces.
        scoring: Turns error maps into scores and anomaly maps.
        calibration: Holds the scores of normal images.
        tiling: How images are cut.
        n_train: The number of images that it was fitted on; 0 before `fit`.

    Attributes:
        intensity: The range of levels of its images before they became 8 bits, which those who
            decode images for it apply; None for images of 8 bits.
        backbone_layers: The backbone and layer of each branch.
    """

    def __init__(
        self,
        backbone: Backbone,
        branches: Sequence[Branch],
        scoring: Scoring,
        calibration: Calibration,
        tiling: Tiling,
        n_train: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.branches = nn.ModuleList(branches)
        self.scoring = scoring
        self.calibration = calibration
        self.tiling = tiling
        self.n_train = n_train
        self.intensity: Intensity | None = None
        self.backbone_layers = [(part, layer) for part in backbone.parts for layer in part.layers]
        self._extractors: list[Extractor] = []

    @property
    def image_size(self) -> tuple[int, int]:
        """`(H, W)` of the images that `forward` takes."""
        return self.tiling.image_size(self.backbone.image_size)

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

    def accelerate(
        self,
        n_threads: int,
        precision: str = "32-true",
        backbone_layers: Sequence[tuple[Backbone, str]] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Build the backbones' engines and start their threads; `release` ends them.

        Args:
            n_threads: Number of CPU threads.
            precision: Of the backbones, as the trainer's.
            backbone_layers: The layers to extract; None for all.
            cache_dir: Where engines that take long to build are kept; None for nowhere.
        """
        by_backbone: dict[Backbone, list[str]] = {}
        for backbone, layer in backbone_layers or self.backbone_layers:
            by_backbone.setdefault(backbone, []).append(layer)
        self._extractors = [
            Extractor(backbone, layers, self.device, n_threads, precision, cache_dir)
            for backbone, layers in by_backbone.items()
        ]

    def release(self) -> None:
        """End the threads."""
        for extractor in self._extractors:
            extractor.close()
        self._extractors = []

    def features_of(self, images: Tensor) -> list[Tensor]:
        """Pooled features `(N, T, C, h, w)` of each layer, of `(N, 3, H, W)` uint8 images."""
        tiles = self.tiling.cut(images, self.backbone.image_size)
        plain = [part.features for part in self.backbone.parts]
        features = [layer for extract in self._extractors or plain for layer in extract(tiles)]
        return [layer.view(-1, self.tiling.n_tiles, *layer.shape[1:]) for layer in features]

    def standardized(self, rows: CachedRows) -> list[FeatureMatrix]:
        """The last layer's features `(T, C, h, w)` of images, standardised, of each tile."""
        return self._branches[-1].standardized(rows)

    def layer_maps_of(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Error maps `(N, h, w)` of each layer, from each layer's features `(N, T, C, h, w)`."""
        with full_precision():
            return [branch(layer) for branch, layer in zip(self._branches, features, strict=True)]

    def error_maps_of(self, features: Sequence[Tensor]) -> Tensor:
        """Normalised, fused error maps `(N, h, w)` of each layer's features `(N, T, C, h, w)`."""
        with full_precision():
            return self.scoring.normalize(self.layer_maps_of(features))

    def anomaly_maps_of(self, error_maps: Tensor) -> Tensor:
        """Anomaly maps `(N, H, W)` of normalised error maps `(N, h, w)`."""
        with full_precision():
            return self.scoring.anomaly_map(error_maps, self.backbone.image_size, self.tiling)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores `(N,)` and anomaly maps `(N, H, W)`, float32, of `(N, 3, H, W)` uint8 images."""
        maps = self.error_maps_of([layer.float() for layer in self.features_of(images)])
        return self.scoring.image_score(maps), self.anomaly_maps_of(maps)

    def fit(
        self,
        layers: Sequence[CachedRows],
        device: torch.device,
        shifts: CellShifts | None,
        groups: Tensor | None = None,
    ) -> None:
        """Fit all but the autoencoders' weights, and calibrate.

        Args:
            layers: Each layer's training features `(T, C, h, w)`.
            device: Where to compute.
            shifts: Makes shifted copies of the features to learn from; None if there are none.
            groups: `(N,)` int64 from 0 to G - 1, the group of each image, if they were named.

        Raises:
            FREError: As the reducer does.
        """
        self.n_train = len(layers[0].indices)
        for branch, rows in zip(self._branches, layers, strict=True):
            tiles = branch.standardize(rows)
        if self.calibration.groups == "auto":
            groups = find_groups(tiles)  # of the last layer: similar there is similar enough
        folds = self.calibration.draw_folds(self.n_train, groups)
        held_out = [
            branch.fit(rows, folds, device, shifts)
            for branch, rows in zip(self._branches, layers, strict=True)
        ]
        if folds is not None:
            self.calibration.fit([maps for maps in held_out if maps is not None], self.scoring)

    def update(self, layers: Sequence[Tensor], folds: Tensor) -> list[Tensor]:
        """Learn further images, without those of the fit; scoring and calibration stay.

        Args:
            layers: Each layer's features `(N, T, C, h, w)` of the further images.
            folds: `(N,)` int64, the fold that holds out each of them.

        Returns:
            Their held-out error maps `(N, h, w)` of each layer.
        """
        indices = list(range(len(folds)))
        rows = [CachedRows([f.cpu().numpy()], indices, [], was_computed=True) for f in layers]
        held_out = [
            branch.update(each, folds, self.device, self.n_train)
            for branch, each in zip(self._branches, rows, strict=True)
        ]
        self.n_train += len(folds)
        return held_out


def full_precision() -> AbstractContextManager[object]:
    """Let reducers work in float32 whatever the backbone's precision."""
    for device_type in ("cpu", "cuda"):
        if torch.is_autocast_enabled(device_type):
            return torch.autocast(device_type, enabled=False)
    return nullcontext()
