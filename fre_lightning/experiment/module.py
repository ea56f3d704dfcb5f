"""The LightningModule: Lightning's hooks around a model that is fitted and tested on features.

Another module extracts the features before, in Lightning's predict loop: `experiment.extraction`.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from fre_lightning.collective import gather
from fre_lightning.detector.checkpoint import Checkpoint, pack
from fre_lightning.detector.model import FREModel, full_precision
from fre_lightning.experiment.batches import FeatureBatch
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.shifts import CellShifts
from fre_lightning.metrics.by_type import PixelMetricsByType
from fre_lightning.metrics.image import image_metrics
from fre_lightning.metrics.info import METRICS
from fre_lightning.reducers import GradientReducer

log = logging.getLogger(__name__)

EPOCHS_PER_STEP = 10

# Maps are as large as images, and faster to look at while they are in the processor's cache.
_MAPS_AT_A_TIME = 8


class FREModule(LightningModule):
    """Fits a model on training features and tests it on test features.

    Args:
        model: The detector's model; checkpoints hold its state.
        train_rows: Each layer's training features `(T, C, h, w)`; empty if the model is fitted.
        shifts: Makes copies of the training features; None if there are none.
        config: Plain containers from which the model can be built again; for checkpoints.
        false_alarm_rate: Stored in the checkpoint; a detector's default.
        groups: `(N,)` int64 from 0 to G - 1, the group of each training image, if named.
        regions: `(N, H, W)` bool, where each training image counts, or `(1, H, W)`; None:
            everywhere.

    Attributes:
        scores: `(N,)` image scores of the test images; empty before a test.
        metrics: The metrics that are defined.
        labels: `(N,)` int64, 1 for defective test images. Like the next two, a test sets it.
        error_maps: `(N, h, w)`, normalised and fused.
        pixel_metrics: Their histograms.
    """

    def __init__(
        self,
        model: FREModel,
        train_rows: Sequence[CachedRows],
        shifts: CellShifts | None,
        config: Mapping[str, Any],
        false_alarm_rate: float,
        groups: Tensor | None = None,
        regions: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.scores = torch.empty(0)
        self.metrics: dict[str, float] = {}
        self._train_rows = train_rows
        self._shifts = shifts
        self._config = config
        self._false_alarm_rate = false_alarm_rate
        self._groups = groups
        self._regions = regions

    def fit_steps(self) -> list[tuple[int, int, int]]:
        """The steps of `fit`: number of a reducer, first epoch, last epoch + 1.

        A step of Lightning's loop takes some milliseconds, as much as several epochs on few images.
        """
        steps = [
            (index, first, min(first + EPOCHS_PER_STEP, reducer.epochs))
            for index, reducer in enumerate(self.model.reducers)
            if isinstance(reducer, GradientReducer)
            for first in range(0, reducer.epochs, EPOCHS_PER_STEP)
        ]
        # Lightning refuses an empty loader; `max_epochs = 0` (see `setup`) skips this step.
        return steps or [(0, 0, 0)]

    def setup(self, stage: str) -> None:
        """Fit everything with a closed form, on the trainer's device."""
        if stage != "fit":
            return
        device = self.trainer.strategy.root_device
        self.model.fit(self._train_rows, device, self._shifts, self._groups, self._regions)
        if not isinstance(self.model.reducers[0], GradientReducer):
            self.trainer.fit_loop.max_epochs = 0

    def configure_optimizers(self) -> None:
        """Leave optimization to the reducer."""

    def training_step(self, step: tuple[int, int, int]) -> None:
        """Train a reducer for some epochs.

        Raises:
            FeatureError: If the loss is no longer a finite number.
        """
        index, first, stop = step
        reducer = self.model.reducers[index]
        assert isinstance(reducer, GradientReducer)
        name = "train/loss" if len(self.model.reducers) == 1 else f"train/loss_{index}"
        for epoch in range(first, stop):
            with full_precision():
                loss = reducer.checked_epoch(epoch)
            for logger in self.loggers:
                logger.log_metrics({name: loss}, step=epoch)
        self.log("train/loss", loss, prog_bar=True, logger=False)

    def on_train_end(self) -> None:
        """Transform the trained weights to feature space."""
        for reducer in self.model.reducers:
            if isinstance(reducer, GradientReducer):
                reducer.finish()
        self.model.round_weights()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the model's own state and configuration."""
        model = self.model
        state, rate = model.state_dict(), self._false_alarm_rate
        packed = pack(Checkpoint(self._config, model.n_train, state, rate, model.intensity))
        checkpoint.update(packed)

    def on_test_start(self) -> None:
        """Forget an earlier test."""
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []
        self.pixel_metrics = PixelMetricsByType()

    def score(self, batch: FeatureBatch) -> tuple[Tensor | None, Tensor, Tensor]:
        """Score some images.

        Returns:
            Where each counts, `(N, H, W)` bool or None; scores `(N,)`; normalised and fused error
            maps `(N, h, w)`.
        """
        regions, model = batch.regions, self.model
        if regions is not None and model.region is not None:
            regions = regions.to(model.device) & model.region
        error_maps = model.error_maps_of(batch.features, regions)
        return regions, model.scores_of(error_maps, regions), error_maps

    def test_step(self, batch: FeatureBatch) -> None:
        """Score some test images."""
        model = self.model
        regions, scores, error_maps = self.score(batch)
        if batch.masks is not None:
            for start in range(0, len(scores), _MAPS_AT_A_TIME):
                some = slice(start, start + _MAPS_AT_A_TIME)
                own = None if regions is None else regions[some]
                maps, masks = model.anomaly_maps_of(error_maps[some], own), batch.masks[some]
                if own is None and model.region is not None:
                    own = model.region.expand(len(maps), -1, -1)
                self.pixel_metrics.update(maps, masks, batch.types[some], own)
        self._batches.append((scores.cpu(), batch.labels.cpu(), error_maps.cpu()))

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics that are defined."""
        batches = [batch for part in gather(self._batches) for batch in part]
        parts = map(torch.cat, zip(*batches, strict=True))
        self.scores, self.labels, self.error_maps = parts
        self.pixel_metrics.close()
        if n_outside := self.pixel_metrics.n_outside:
            log.warning(
                "Defective images whose defect lies outside of the region of interest: %d. They "
                "count as defective for image metrics, and as good pixels for pixel metrics.",
                n_outside,
            )
        values = image_metrics(self.scores, self.labels) | self.pixel_metrics.total.compute()
        self.metrics = {name: value for name, value in values.items() if not math.isnan(value)}
        undefined = [name for name in METRICS if math.isnan(values[name])]
        if undefined:
            names = ", ".join(undefined)
            # Who has good images alone knows.
            level = logging.WARNING if self.labels.any() else logging.INFO
            log.log(level, "Left out, for want of good or defective test data: %s", names)
        self.log_dict({f"test/{name}": value for name, value in self.metrics.items()})
