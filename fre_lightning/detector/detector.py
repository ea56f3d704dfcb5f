"""A fitted detector as a program uses it: call it with images."""

import copy
import logging
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fre_lightning.datasets.regions import RegionFolder
from fre_lightning.detector.builder import restore_model
from fre_lightning.detector.checkpoint import Checkpoint, write_checkpoint
from fre_lightning.detector.judge import Judge, Judged
from fre_lightning.detector.later_parts import Batch, recalibrate, update
from fre_lightning.detector.model import FREModel
from fre_lightning.detector.result import Box, DetectionResult, hottest_box
from fre_lightning.errors import ConfigError, DatasetError, FeatureError, UnreadableImageError
from fre_lightning.images.prepare import ImageLike, PreparedImage, prepare_image
from fre_lightning.images.region import read_region
from fre_lightning.scoring.drift import Drift, DriftMonitor
from fre_lightning.scoring.threshold import check_rate, p_values
from fre_lightning.threads import intra_op_threads

log = logging.getLogger(__name__)

CALIBRATE_ON = ("new", "all")

Outcome = Judged[DetectionResult]
"""One image of many, and its result or its error."""


class Detector(Judge[DetectionResult]):
    """Scores images, maps their anomalies, and decides. Threads may share one.

    Args:
        model: Fitted, on its device; it is made fast here.
        false_alarm_rate: The rate for which thresholds are found.
        threshold: The image score above which an image is called defective; None to find it. The
            attribute is None without calibration.
        n_threads: CPU threads that decode, and that compute.
        config: From which the model can be built again, as in its checkpoint.
        regions: Those of single images that are given as paths; None if there are none.

    Attributes:
        pixel_threshold: The anomaly map's value that few normal images exceed, or None.
        normal_scores: `(N,)` held-out scores of normal images, behind thresholds and p-values;
            empty without calibration.
    """

    columns = ("score", "p_value", "threshold", "is_defective", *Box._fields)
    decides = "is_defective"
    words: ClassVar = {True: "defective", False: "good", None: "undecided"}

    def __init__(
        self,
        model: FREModel,
        false_alarm_rate: float,
        threshold: float | None,
        n_threads: int,
        config: Mapping[str, Any],
        regions: RegionFolder | None = None,
    ) -> None:
        super().__init__(n_threads, model.tiling.n_tiles)
        self.description = model.description
        self.device = model.device
        self.image_size = model.image_size
        self.intensity = model.intensity
        self.normal_scores = model.calibration.image_scores.cpu()
        self._monitor = DriftMonitor(n) if (n := len(self.normal_scores)) else None
        self._model = model
        self._config = config
        self._regions = regions
        self._set_rate(false_alarm_rate, threshold)
        model.accelerate(n_threads)

    def _set_rate(self, false_alarm_rate: float, threshold: float | None) -> None:
        self.false_alarm_rate = false_alarm_rate
        self.threshold = threshold
        self.pixel_threshold: float | None = None
        found = self._model.calibration.thresholds(false_alarm_rate)
        if found is None:
            log.warning("This detector is not calibrated (too few training images): no threshold.")
        else:
            self.threshold = found.image if threshold is None else threshold
            self.pixel_threshold = found.pixel

    def row(self, result: DetectionResult) -> dict[str, Any]:
        """A result as the values of `columns`."""
        box = result.box or [None] * len(Box._fields)
        values = (result.score, result.p_value, result.threshold, result.is_defective, *box)
        return dict(zip(self.columns, values, strict=True))

    @property
    def settings(self) -> dict[str, Any]:
        """The threshold, and the rate it was found for."""
        return {"threshold": self.threshold, "false_alarm_rate": self.false_alarm_rate}

    @property
    def drift(self) -> Drift | None:
        """Whether what was streamed and noted still looks normal; None without calibration."""
        return None if self._monitor is None else self._monitor.state

    def note(self, p_value: float | None, image: object = None) -> None:
        """Let a p-value count in `drift`, as `stream` does; when drift is noticed, the log says so.

        Calls alone do not count: only the caller knows whether they are parts in order.

        Args:
            p_value: Of a result of this detector; None is ignored.
            image: Its name is the path, if it is one.
        """
        name = os.fsdecode(image) if isinstance(image, str | os.PathLike) else None
        if self._monitor and p_value is not None and self._monitor.add(p_value, name):
            log.warning("%s", self._monitor.state)

    def stream(
        self, images: Iterable[ImageLike], *, watches_drift: bool = True
    ) -> Generator[Outcome, None, None]:
        """Judge any number of images in order and in constant memory, as `read_ahead` batches them.

        An image that comes alone is judged at once. `images` is drawn from in a thread.

        Args:
            images: To judge.
            watches_drift: Whether each result counts in `drift`, which goes on from one stream to
                the next. Images that do not come from the line in order should not count.
        """
        for outcome in super().stream(images):
            if watches_drift and outcome.result is not None:
                self.note(outcome.result.p_value, outcome.image)
            yield outcome

    def at_rate(self, false_alarm_rate: float) -> "Detector":
        """The same detector with the thresholds for another false-alarm rate.

        Raises:
            ConfigError: If the rate is out of range.
        """
        check_rate(false_alarm_rate)
        other = copy.copy(self)  # with the same model and lock
        other._set_rate(false_alarm_rate, None)
        return other

    def calibrate(self, images: Iterable[ImageLike]) -> "Detector":
        """A detector with thresholds, p-values and normalisation of maps from later good parts.

        The subspaces stay as they are.

        Args:
            images: At least three, of good parts that this detector has not learnt from.

        Raises:
            UnreadableImageError: If one of them cannot be decoded.
            DatasetError: If there are fewer than three.
        """
        model = self._copy_model()
        recalibrate(model, self._features(images))
        return self._with(model)

    def update(self, images: Iterable[ImageLike], *, calibrate_on: str = "new") -> "Detector":
        """A detector that has learnt later good parts too, without the images of the first fit.

        Args:
            images: At least three, of good parts that this detector has not learnt from.
            calibrate_on: Whose held-out scores give its thresholds: the `new` ones, or `all`.

        Raises:
            UnreadableImageError: If one of them cannot be decoded.
            DatasetError: If there are fewer than three.
            CheckpointError: If this detector comes from a checkpoint without what this takes.
            ConfigError: If its reducer is an autoencoder, or `calibrate_on` is unknown.
        """
        if calibrate_on not in CALIBRATE_ON:
            msg = f"calibrate_on={calibrate_on} is unknown; choose {' or '.join(CALIBRATE_ON)}."
            raise ConfigError(msg)
        model = self._copy_model()
        update(model, self._features(images), replace_scores=calibrate_on == "new")
        return self._with(model)

    def evaluate(
        self,
        images: str | PathLike[str] | None = None,
        output_dir: str | PathLike[str] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Metrics on the test split of a folder or another dataset: `fre_lightning.evaluate`."""
        import fre_lightning  # by the front door: what runs a test stands above this room

        return fre_lightning.evaluate(self, images, output_dir, **settings)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a checkpoint that `load` reads; a threshold of one's own is not stored.

        Raises:
            OutputError: If it cannot be written.
        """
        write_checkpoint(Path(path).expanduser(), self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        state, n_train = self._model.state_dict(), self._model.n_train
        return Checkpoint(self._config, n_train, state, self.false_alarm_rate, self.intensity)

    def _with(self, model: FREModel) -> "Detector":
        rate, n_threads = self.false_alarm_rate, self.n_threads
        return Detector(model, rate, None, n_threads, self._config, self._regions)

    def _copy_model(self) -> FREModel:
        return restore_model(self._checkpoint()).to(self.device)

    def _features(self, images: Iterable[ImageLike]) -> Iterator[Batch]:
        """Batches of images, on the device."""
        for batch in self._batches(images):
            found = []
            for _, future in batch:
                if isinstance(prepared := future.result(), UnreadableImageError):
                    raise prepared
                found.append(prepared)
            pixels = torch.stack([image.pixels for image in found])
            with self._lock, torch.inference_mode(), intra_op_threads(self.n_threads):
                layers = [f.float() for f in self._model.features_of(pixels.to(self.device))]
                weights = self._model.weights_of(layers, self._regions_of(found))
            yield layers, weights

    def _read(self, image: ImageLike) -> PreparedImage:
        prepared = prepare_image(image, self.image_size, self.intensity)
        if self._regions is None or not isinstance(image, str | PathLike):
            return prepared
        path = Path(image)
        try:
            region = read_region(self._regions.find(path), path, self.image_size)
            return prepared._replace(region=region)
        except DatasetError as error:
            raise UnreadableImageError(str(error)) from error

    def _judge(self, images: list[PreparedImage]) -> list[DetectionResult]:
        if not images:
            return []
        pixels, regions = torch.stack([image.pixels for image in images]), self._regions_of(images)
        with self._lock, torch.inference_mode(), intra_op_threads(self.n_threads):
            judged = self._model(pixels.to(self.device), regions)
            scores, maps = (part.float().cpu() for part in judged)
        if not scores.isfinite().all():
            msg = "The detector's score of an image is not a finite number. Fit it again."
            raise FeatureError(msg)
        p = [None] * len(images)
        if len(self.normal_scores):
            p = p_values(scores, self.normal_scores).tolist()
        # Not views of the maps, which would keep the batch in memory.
        arrays = (one.numpy().copy() for one in maps)
        inside: list[NDArray[np.bool_] | None] = [self._region] * len(images)
        if regions is not None:
            inside = [one.cpu().numpy().copy() for one in regions]
        return [
            DetectionResult(
                score=score,
                p_value=p_value,
                threshold=self.threshold,
                is_defective=None if self.threshold is None else score > self.threshold,
                anomaly_map=array,
                pixel_threshold=self.pixel_threshold,
                box=hottest_box(array, self.pixel_threshold, image.size),
                image_size=image.size,
                pixels=image.pixels.permute(1, 2, 0).numpy(),
                region=region,
            )
            for score, p_value, array, image, region in zip(
                scores.tolist(), p, arrays, images, inside, strict=True
            )
        ]

    @cached_property
    def _region(self) -> NDArray[np.bool_] | None:
        region = self._model.region
        return None if region is None else region.cpu().numpy()

    def _regions_of(self, images: list[PreparedImage]) -> Tensor | None:
        """Where images count, `(N, H, W)` bool; None if none can have a region of its own."""
        own, common = [image.region for image in images], self._model.region
        if common is None or self._regions is None:
            return None
        return torch.stack([common if r is None else r.to(self.device) & common for r in own])
