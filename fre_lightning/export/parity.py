"""Whether an exported file gives PyTorch's scores and maps, and how long both take."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fre_lightning.detector.model import FREModel
from fre_lightning.export.formats import Images, Runner
from fre_lightning.images.resizing import resize

_TOGETHER = 3
_N_WARM_UP = 2


class Parity(NamedTuple):
    """The largest differences over some images.

    Attributes:
        score: Of scores, relative to PyTorch's.
        anomaly_map: Of maps, relative to the highest value of each.
        n_images: How many images were compared.
    """

    score: float
    anomaly_map: float
    n_images: int

    @property
    def worst(self) -> float:
        """The larger of the two; infinite where a number is not one."""
        worst = max(self.score, self.anomaly_map)
        return worst if np.isfinite(worst) else float("inf")


def reference(model: FREModel) -> Runner:
    """PyTorch's own way from decoded images to scores and maps, one size or several."""

    def run(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        resized = [resize(image, model.image_size) for image in images]
        with torch.inference_mode():
            scores, anomaly_maps = model(torch.stack(resized))
        return scores.numpy(), anomaly_maps.numpy()

    return run


def resized(images: Sequence[Images], size: tuple[int, int]) -> list[Images]:
    """Images as the program's loader resizes them."""
    return [np.ascontiguousarray(resize(image, size).permute(1, 2, 0).numpy()) for image in images]


def compare(expected: Runner, actual: Runner, images: Sequence[Images]) -> Parity:
    """Run both, on up to three images at a time where neighbours have one size."""
    score, anomaly_map = 0.0, 0.0
    for batch in _batches(images):
        (scores, maps), (scores_, maps_) = expected(batch), actual(batch)
        if scores_.shape != scores.shape or maps_.shape != maps.shape:
            return Parity(float("inf"), float("inf"), len(images))
        highest = maps.max(axis=(1, 2), keepdims=True)
        score = float(np.maximum(score, _largest(scores_ - scores, scores)))
        anomaly_map = float(np.maximum(anomaly_map, _largest(maps_ - maps, highest)))
    return Parity(score, anomaly_map, len(images))


def _largest(difference: NDArray[np.float32], scale: NDArray[np.float32]) -> np.floating:
    tiny = np.finfo(np.float32).tiny
    return np.max(np.abs(difference) / np.maximum(np.abs(scale), tiny))


def _batches(images: Sequence[Images]) -> list[Images]:
    """Batches of three and, so that both are tried, the last image by itself."""
    batches: list[list[Images]] = []
    for index, image in enumerate(images):
        fits = batches and batches[-1][0].shape == image.shape and len(batches[-1]) < _TOGETHER
        if fits and index < len(images) - 1:
            batches[-1].append(image)
        else:
            batches.append([image])
    return [np.stack(batch) for batch in batches]


def measure_latency(runners: Sequence[Runner], images: Images, n_repeats: int) -> list[float]:
    """Median milliseconds a call takes; runners take turns, so that a busy machine is fair."""
    milliseconds: list[list[float]] = [[] for _ in runners]
    for repeat in range(_N_WARM_UP + n_repeats):
        for times, run in zip(milliseconds, runners, strict=True):
            took = _milliseconds(lambda run=run: run(images))  # type: ignore[misc]
            if repeat >= _N_WARM_UP:
                times.append(took)
    return [median(times) for times in milliseconds]


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)
