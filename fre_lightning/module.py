"""The LightningModule: glue between Lightning's hooks and what computes."""

import logging
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from fre_lightning.backbones import Backbone
from fre_lightning.calibration import Calibration
from fre_lightning.checkpoint import KEY, describe
from fre_lightning.datamodule import TestBatch
from fre_lightning.errors import FeatureError
from fre_lightning.feature_cache import CachedRows
from fre_lightning.feature_matrix import FeatureMatrix
from fre_lightning.image_loader import ImageBatch
from fre_lightning.metrics import ImageMetrics, PixelAUPIMO, PixelMetrics
from fre_lightning.reducers import GradientReducer, Reducer
from fre_lightning.scoring import Scoring, error_map, pool_features
from fre_lightning.threads import ImageParallel

log = logging.getLogger(__name__)

EPOCHS_A_STEP = 10

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
    """Extracts features, fits the reducer, and tests it.

    `predict` takes images and gives features, `fit` trains the reducer on the training features,
    `test` takes test features and gives scores, error maps and metrics.

    Attributes:
        false_alarm_rate: The default of whoever decides with its checkpoint.
        scores: `(n,)` image scores of each test batch, after a test.
        error_maps: `(n, h, w)` of each test batch as the scoring normalises them, after a test.
        metrics: The metrics that are defined, after a test.
    """

    def __init__(
        self,
        backbone: Backbone,
        reducer: Reducer,
        scoring: Scoring,
        calibration: Calibration,
        config: Mapping[str, Any],
    ) -> None:
        """Hold the parts, ready-made.

        Args:
            backbone: Where features come from.
            reducer: What learns their subspace.
            scoring: What makes scores and maps of its errors.
            calibration: What knows how normal images score.
            config: Plain containers from which the four can be built again; goes into checkpoints.
        """
        super().__init__()
        self.config = config
        self.n_train = 0
        self.false_alarm_rate = 0.05
        self.automatic_optimization = False
        self.backbone = backbone
        self.reducer = reducer
        self.scoring = scoring
        self.calibration = calibration
        self.image_metrics = ImageMetrics()
        self.pixel_metrics = PixelMetrics()
        self.pixel_aupimo = PixelAUPIMO()
        self.scores: list[Tensor] = []
        self.error_maps: list[Tensor] = []
        self.metrics: dict[str, float] = {}
        self._parallel: ImageParallel | None = None

    @property
    def description(self) -> str:
        """Backbone, weights and reducer, for the log."""
        backbone = self.backbone
        height, width = backbone.image_size
        source = f"{backbone.name} {backbone.layer} ({backbone.weights_label})"
        return f"{source} at {height}x{width}, {self.reducer.name}"

    @property
    def fit_steps(self) -> list[range]:
        """What `fit` loops over: the reducer's epochs, if it has any, some to a step.

        A step of Lightning's loop costs some milliseconds, as much as several epochs on few images.
        """
        epochs = range(self.reducer.epochs if isinstance(self.reducer, GradientReducer) else 1)
        return [epochs[start : start + EPOCHS_A_STEP] for start in epochs[::EPOCHS_A_STEP]]

    def attach(self, rows: CachedRows) -> None:
        """Hand over the training features `(C, h, w)`; needed by `fit`."""
        self._train_rows = rows
        self.n_train = len(rows.indices)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module."""
        weights = checkpoint["state_dict"]
        checkpoint[KEY] = describe(self.config, self.n_train, self.false_alarm_rate, weights)

    def on_predict_start(self) -> None:
        """Build the backbone's engine and start its threads."""
        n_threads = torch.get_num_threads()
        self.backbone.accelerate(n_threads, str(self.trainer.precision))
        n_together = self.backbone.n_together if self.device.type == "cpu" else None
        if n_together is not None:
            self._parallel = ImageParallel(self.extract, n_threads, n_together)

    def predict_step(self, batch: ImageBatch) -> Tensor:
        """Pooled features `(N, C, h, w)` of images."""
        return (self._parallel or self.extract)(batch.images)

    def on_predict_end(self) -> None:
        """End the threads."""
        if self._parallel is not None:
            self._parallel.close()
            self._parallel = None

    def extract(self, images: Tensor) -> Tensor:
        """Pooled features `(N, C, h, w)` of `(N, 3, H, W)` uint8 images."""
        return pool_features(self.backbone(images), self.backbone.pool)

    @property
    def image_size(self) -> tuple[int, int]:
        """`(H, W)` of the images that `forward` takes."""
        return self.backbone.image_size

    def forward(self, images: Tensor) -> Detection:
        """Detect: from `(N, 3, H, W)` uint8 images to scores and anomaly maps."""
        features = self.extract(images).float()
        with self._full_precision():
            error_maps = self.scoring.normalize(self.error_maps_of(features))
            anomaly_maps = self.scoring.anomaly_map(error_maps, self.image_size)
        return Detection(self.scoring.image_score(error_maps), anomaly_maps)

    def setup(self, stage: str) -> None:
        """Before `fit`: fit what has a closed form, on the trainer's device."""
        if stage != "fit":
            return
        features = FeatureMatrix(self._train_rows.shards)
        standardizer = self.backbone.standardizer
        standardizer.fit(features, n_channels=self._train_rows.row_shape[0])
        device = self.trainer.strategy.root_device
        subspace = self.reducer.fit(features.with_transform(standardizer), device)
        n_components, shape = self.reducer.n_components_requested, self._train_rows.row_shape
        n_channels, height, width = shape
        feature_shape = (n_channels, height, width)
        self.calibration.fit(subspace, n_components, feature_shape, self.scoring)
        if not isinstance(self.reducer, GradientReducer):
            self.trainer.fit_loop.max_epochs = 0

    def configure_optimizers(self) -> None:
        """Leave optimization to the reducer."""

    def training_step(self, epochs: range) -> None:
        """Some epochs of the reducer.

        Raises:
            FeatureError: If the loss is no longer a finite number.
        """
        assert isinstance(self.reducer, GradientReducer)
        for epoch in epochs:
            with self._full_precision():
                loss = float(self.reducer.training_epoch())
            if not math.isfinite(loss):
                msg = f"The loss became {loss} in epoch {epoch}. Choose a smaller reducer.lr."
                raise FeatureError(msg)
            for logger in self.loggers:
                logger.log_metrics({"train/loss": loss}, step=epoch)
        self.log("train/loss", loss, prog_bar=True, logger=False)

    def on_train_end(self) -> None:
        """Take the trained weights to feature space."""
        assert isinstance(self.reducer, GradientReducer)
        self.reducer.finish()

    def on_test_start(self) -> None:
        """Forget an earlier test."""
        self.scores, self.error_maps = [], []

    def test_step(self, batch: TestBatch) -> None:
        """Score some test images."""
        with self._full_precision():
            error_maps = self.scoring.normalize(self.error_maps_of(batch.features))
        scores = self.scoring.image_score(error_maps)
        self.image_metrics.update(scores, batch.labels)
        if batch.masks is not None:
            anomaly_maps = self.scoring.anomaly_map(error_maps, self.backbone.image_size)
            self.pixel_metrics.update(anomaly_maps, batch.masks)
            self.pixel_aupimo.update(anomaly_maps, batch.masks)
        self.scores.append(scores.cpu())
        self.error_maps.append(error_maps.cpu())

    def error_maps_of(self, features: Tensor) -> Tensor:
        """Error maps `(N, h, w)` of pooled features `(N, C, h, w)`."""
        flat = self.backbone.standardizer(features.flatten(1))
        _, n_channels, height, width = features.shape
        return error_map(flat - self.reducer(flat), (n_channels, height, width))

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics that are defined."""
        values = self.image_metrics.compute() | self.image_metrics.intervals()
        values |= self.pixel_metrics.compute() | self.pixel_aupimo.compute()
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
