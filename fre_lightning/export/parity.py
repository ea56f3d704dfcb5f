"""The differences between the scores and maps of an exported file and those of PyTorch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from fre_lightning.detector.model import FREModel
from fre_lightning.errors import ExportError
from fre_lightning.export.base import Images, Outputs, Runner
from fre_lightning.images.resizing import resize

_BATCH = 3


class Parity(NamedTuple):
    """The largest differences over some images.

    Attributes:
        score: Of scores, relative to PyTorch's.
        anomaly_map: Of maps, relative to the highest value of each.
    """

    score: float
    anomaly_map: float

    @property
    def worst(self) -> float:
        """The larger of the two; infinite if one is not a number."""
        worst = max(self.score, self.anomaly_map)
        return worst if np.isfinite(worst) else float("inf")


def reference(model: FREModel) -> Runner:
    """PyTorch's own way from decoded images of any size to scores and maps."""

    def run(images: Images) -> Outputs:
        with torch.inference_mode():
            pixels = [resize(image, model.image_size) for image in images]
            scores, anomaly_maps = model(torch.stack(pixels))
        return scores.numpy(), anomaly_maps.numpy()

    return run


def resized(images: Sequence[Images], size: tuple[int, int]) -> list[Images]:
    """Resize `(H, W, 3)` images as training images are resized."""
    return [np.ascontiguousarray(resize(image, size).permute(1, 2, 0).numpy()) for image in images]


def check_parity(
    cfg: DictConfig,
    expected: Runner,
    exported: Runner,
    images: Sequence[Images],
    sizes: tuple[tuple[int, int], tuple[int, int] | None],
) -> dict[str, Any]:
    """Compare a file with PyTorch: on images of one size, then on their own sizes as well.

    Args:
        cfg: Its tolerances.
        expected: PyTorch.
        exported: The file.
        images: `(H, W, 3)` each, of any sizes.
        sizes: `(h, w)` of the model's images, and `(H, W)` of the file's; None: any size.

    Returns:
        Differences and tolerances.

    Raises:
        ExportError: If a difference is larger than its tolerance.
    """
    model_size, file_size = sizes
    tolerance = cfg.half_tolerance if cfg.half_reducer else cfg.tolerance
    parts = {"": (resized(images, file_size or model_size), tolerance)}
    if file_size is None:
        parts["from_any_size_"] = (list(images), max(tolerance, cfg.resize_tolerance))
    report: dict[str, Any] = {}
    for part, (part_images, limit) in parts.items():
        parity = compare(expected, exported, part_images)
        report |= {
            f"{part}score_difference": parity.score,
            f"{part}map_difference": parity.anomaly_map,
            f"{part}tolerance": limit,
        }
        if parity.worst > limit:
            raise ExportError(_failure(part, parity, limit, half_reducer=cfg.half_reducer))
    return report


def _failure(part: str, parity: Parity, limit: float, *, half_reducer: bool) -> str:
    what = "the file's own resize of images" if part else "the file"
    setting = "resize_tolerance" if part else "half_tolerance" if half_reducer else "tolerance"
    advice = "half_reducer=false" if half_reducer else "another format"
    return (
        f"With {what}, scores differ from PyTorch's by up to {parity.score:.2g} of their value and "
        f"maps by {parity.anomaly_map:.2g} of their maximum; {setting}={limit:g} allows less. "
        f"No file is left behind. Try {advice}, or allow more if that suits you."
    )


def compare(expected: Runner, actual: Runner, images: Sequence[Images]) -> Parity:
    """Run both on images `(H, W, 3)`, in batches of up to three neighbours of one size."""
    score, anomaly_map = 0.0, 0.0
    for batch in _batches(images):
        (scores, maps), (actual_scores, actual_maps) = expected(batch), actual(batch)
        if actual_scores.shape != scores.shape or actual_maps.shape != maps.shape:
            return Parity(float("inf"), float("inf"))
        highest = maps.max(axis=(1, 2), keepdims=True)
        score = float(np.maximum(score, _largest(actual_scores - scores, scores)))
        anomaly_map = float(np.maximum(anomaly_map, _largest(actual_maps - maps, highest)))
    return Parity(score, anomaly_map)


def _largest(difference: NDArray[np.float32], scale: NDArray[np.float32]) -> np.floating:
    tiny = np.finfo(np.float32).tiny
    return np.max(np.abs(difference) / np.maximum(np.abs(scale), tiny))


def _batches(images: Sequence[Images]) -> list[Images]:
    """Batches of three; the last image is alone, so that both kinds of batch are tried."""
    batches: list[list[Images]] = []
    for index, image in enumerate(images):
        fits = batches and batches[-1][0].shape == image.shape and len(batches[-1]) < _BATCH
        if fits and index < len(images) - 1:
            batches[-1].append(image)
        else:
            batches.append([image])
    return [np.stack(batch) for batch in batches]
