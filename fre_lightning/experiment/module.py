"""The LightningModule: glue between Lightning's hooks and what computes."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fre_lightning.backbones import Backbone
from fre_lightning.backbones.extractor import Extractor
from fre_lightning.detector.checkpoint import KEY, describe
from fre_lightning.detector.layer import Branch
from fre_lightning.errors import FeatureError
from fre_lightning.experiment.datamodule import TestBatch
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.shifts import CellShifts
from fre_lightning.images.loader import ImageBatch
from fre_lightning.images.tiling import Tiling
from fre_lightning.metrics.by_type import PixelMetricsByType
from fre_lightning.metrics.image import ImageMetrics
from fre_lightning.reducers import GradientReducer, Reducer
from fre_lightning.scoring import Scoring
from fre_lightning.scoring.calibration import Calibration

log = logging.getLogger(__name__)

EPOCHS_A_STEP = 10

# Maps are as large as images, and faster to look at while they are in the processor's cache.
_MAPS_AT_A_TIME = 8

_ENDS = ("_low", "_high")


class Detection(NamedTuple):
    """What a fitted module says of images.

    Attributes:
        scores: `(N,)` float32, image scores.
        anomaly_maps: `(N, H, W)` float32.
    """

    scores: Tensor
    anomaly_maps: Tensor


class FREModule(LightningModule):
    """Extracts features, fits the reducers, and tests them.

    `predict` takes images and gives features, `fit` trains the reducers on the training features,
    `test` takes test features and gives scores, error maps and metrics; the module itself is a
    detector: it takes images and gives scores and anomaly maps.

    Attributes:
        sources: The backbone and layer that each branch has its features from.
        wanted: Those of them that `predict` gives the features of.
        false_alarm_rate: The default of whoever decides with its checkpoint.
        shifts: Makes copies of the training features; None if there are none.
        scores: `(n,)` image scores of each test batch, after a test.
        error_maps: `(n, h, w)` of each test batch as the scoring normalises and fuses them, after
            a test.
        metrics: The metrics that are defined, after a test.
    """

    def __init__(
        self,
        backbone: Backbone,
        branches: Sequence[Branch],
        scoring: Scoring,
        calibration: Calibration,
        tiling: Tiling,
        config: Mapping[str, Any],
    ) -> None:
        """Hold the parts, ready-made.

        Args:
            backbone: Where features come from.
            branches: What learns their subspaces: one for each of the backbone's layers.
            scoring: What makes scores and maps of their errors.
            calibration: What knows how normal images score.
            tiling: How images are cut.
            config: Plain containers from which all can be built again; goes into checkpoints.
        """
        super().__init__()
        self.config = config
        self.n_train = 0
        self.false_alarm_rate = 0.05
        self.shifts: CellShifts | None = None
        self.automatic_optimization = False
        self.backbone = backbone
        self.branches = nn.ModuleList(branches)
        self.scoring = scoring
        self.calibration = calibration
        self.tiling = tiling
        self.sources = [(part, layer) for part in backbone.parts for layer in part.layers]
        self.wanted = self.sources
        self.image_metrics = ImageMetrics()
        self.pixel_metrics = PixelMetricsByType()
        self.scores: list[Tensor] = []
        self.error_maps: list[Tensor] = []
        self.metrics: dict[str, float] = {}
        self._extractors: list[Extractor] = []

    @property
    def image_size(self) -> tuple[int, int]:
        """`(H, W)` of the images that `forward` takes."""
        return self.tiling.image_size(self.backbone.image_size)

    @property
    def reducers(self) -> list[Reducer]:
        """Those of all branches."""
        return [reducer for branch in self._branches for reducer in branch.reducers]

    @property
    def _branches(self) -> list[Branch]:
        return list(self.branches)  # type: ignore[arg-type]  # a ModuleList forgets its type

    @property
    def description(self) -> str:
        """Backbone, weights and reducer, for the log."""
        backbone = self.backbone
        height, width = self.image_size
        source = f"{backbone.name} {'+'.join(backbone.layers)} ({backbone.weights_label})"
        return f"{source} at {height}x{width}, {self.reducers[0].name}"

    def fit_steps(self) -> DataLoader[tuple[int, int, int]]:
        """What `fit` loops over: of each reducer the epochs from one to another, some to a step.

        A step of Lightning's loop costs some milliseconds, as much as several epochs on few images.
        """
        steps = [
            (index, first, min(first + EPOCHS_A_STEP, reducer.epochs))
            for index, reducer in enumerate(self.reducers)
            if isinstance(reducer, GradientReducer)
            for first in range(0, reducer.epochs, EPOCHS_A_STEP)
        ]
        no_steps = [(0, 0, 0)]  # Lightning's loop wants one, which it is then told to leave out
        return DataLoader(steps or no_steps, batch_size=None, collate_fn=tuple)  # type: ignore[arg-type]

    def attach(self, layers: Sequence[CachedRows]) -> None:
        """Hand over each layer's training features `(T, C, h, w)`; needed by `fit`."""
        self._train_rows = layers
        self.n_train = len(layers[0].indices)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module."""
        weights = checkpoint["state_dict"]
        checkpoint[KEY] = describe(self.config, self.n_train, self.false_alarm_rate, weights)

    def accelerate(
        self,
        n_threads: int,
        precision: str = "32-true",
        sources: Sequence[tuple[Backbone, str]] | None = None,
    ) -> None:
        """Build the backbones' engines and start their threads; `release` ends them.

        Args:
            n_threads: How many CPU threads may compute.
            precision: Of the backbones, as the trainer's.
            sources: The layers that will be asked for; all if None.
        """
        by_backbone: dict[Backbone, list[str]] = {}
        for backbone, layer in self.sources if sources is None else sources:
            by_backbone.setdefault(backbone, []).append(layer)
        self._extractors = [
            Extractor(backbone, layers, self.device, n_threads, precision)
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

    def forward(self, images: Tensor) -> Detection:
        """Detect: from `(N, 3, H, W)` uint8 images to scores and anomaly maps."""
        features = [layer.float() for layer in self.features_of(images)]
        with self._full_precision():
            maps = self.error_maps_of(features)
            return Detection(self.scoring.image_score(maps), self.anomaly_maps_of(maps))

    def on_predict_start(self) -> None:
        """Make ready for the layers that are wanted."""
        self.accelerate(torch.get_num_threads(), str(self.trainer.precision), self.wanted)

    def predict_step(self, batch: ImageBatch) -> list[Tensor]:
        """Pooled features `(N, T, C, h, w)` of images, of each of the `wanted` layers."""
        return self.features_of(batch.images)

    def on_predict_end(self) -> None:
        """End the threads."""
        self.release()

    def error_maps_of(self, features: Sequence[Tensor]) -> Tensor:
        """Normalised, fused error maps `(N, h, w)` of each layer's features `(N, T, C, h, w)`."""
        return self.scoring.normalize(
            [branch(layer) for branch, layer in zip(self._branches, features, strict=True)]
        )

    def anomaly_maps_of(self, error_maps: Tensor) -> Tensor:
        """Anomaly maps `(N, H, W)` of normalised error maps `(N, h, w)`."""
        return self.scoring.anomaly_map(error_maps, self.backbone.image_size, self.tiling)

    def setup(self, stage: str) -> None:
        """Before `fit`: fit what has a closed form, on the trainer's device."""
        if stage != "fit":
            return
        self.fit_closed_forms(self.trainer.strategy.root_device)
        if not isinstance(self.reducers[0], GradientReducer):
            self.trainer.fit_loop.max_epochs = 0

    def fit_closed_forms(self, device: torch.device) -> None:
        """Fit all but the autoencoders' weights to the attached features, and calibrate."""
        folds = self.calibration.draw_folds(self.n_train)
        held_out = [
            branch.fit(rows, folds, device, self.shifts)
            for branch, rows in zip(self._branches, self._train_rows, strict=True)
        ]
        if folds is not None:
            self.calibration.fit([maps for maps in held_out if maps is not None], self.scoring)

    def configure_optimizers(self) -> None:
        """Leave optimization to the reducer."""

    def training_step(self, step: tuple[int, int, int]) -> None:
        """Some epochs of a reducer.

        Raises:
            FeatureError: If the loss is no longer a finite number.
        """
        index, first, stop = step
        reducer = self.reducers[index]
        assert isinstance(reducer, GradientReducer)
        name = "train/loss" if len(self.reducers) == 1 else f"train/loss_{index}"
        for epoch in range(first, stop):
            with self._full_precision():
                loss = float(reducer.training_epoch())
            if not math.isfinite(loss):
                msg = f"The loss became {loss} in epoch {epoch}. Choose a smaller reducer.lr."
                raise FeatureError(msg)
            for logger in self.loggers:
                logger.log_metrics({name: loss}, step=epoch)
        self.log("train/loss", loss, prog_bar=True, logger=False)

    def on_train_end(self) -> None:
        """Take the trained weights to feature space."""
        for reducer in self.reducers:
            if isinstance(reducer, GradientReducer):
                reducer.finish()

    def on_test_start(self) -> None:
        """Forget an earlier test."""
        self.scores, self.error_maps = [], []
        self.pixel_metrics = PixelMetricsByType()
        self.image_metrics.reset()

    def test_step(self, batch: TestBatch) -> None:
        """Score some test images."""
        with self._full_precision():
            error_maps = self.error_maps_of(batch.features)
        scores = self.scoring.image_score(error_maps)
        self.image_metrics.update(scores, batch.labels)
        if batch.masks is not None:
            for start in range(0, len(scores), _MAPS_AT_A_TIME):
                some = slice(start, start + _MAPS_AT_A_TIME)
                maps = self.anomaly_maps_of(error_maps[some])
                self.pixel_metrics.update(maps, batch.masks[some], batch.types[some])
        self.scores.append(scores.cpu())
        self.error_maps.append(error_maps.cpu())

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics that are defined."""
        values = self.image_metrics.compute() | self.image_metrics.intervals()
        self.pixel_metrics.close()
        values |= self.pixel_metrics.total.compute()
        self.metrics = {name: value for name, value in values.items() if not math.isnan(value)}
        missing = values.keys() - self.metrics.keys()
        undefined = [name for name in values if name in missing and not name.endswith(_ENDS)]
        if undefined:
            log.warning(
                "Left out, for want of good or defective test data: %s", ", ".join(undefined)
            )
        self.log_dict({f"test/{name}": value for name, value in self.metrics.items()})

    def _full_precision(self) -> torch.autocast:
        """Reducers work in float32 whatever the backbone's precision."""
        return torch.autocast(self.device.type, enabled=False)
