"""An exported file compared with PyTorch: the differences of scores and maps, and the time."""

import platform
import time
from collections.abc import Sequence
from itertools import groupby
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from fre_lightning.detector.model import FREModel
from fre_lightning.errors import ExportError
from fre_lightning.export.base import Images, Outputs, Runner
from fre_lightning.images.intensity import Intensity, in_units, to_levels
from fre_lightning.images.resizing import resize
from fre_lightning.ood.deciding import Deciding

_BATCH = 3
_N_WARM_UP = 2


def reference(model: FREModel | Deciding) -> Runner:
    """PyTorch's own way from decoded images of any size to what the model gives."""

    def run(images: Images) -> Outputs:
        with torch.inference_mode():
            pixels = [
                resize(np.ascontiguousarray(to_levels(image, model.intensity)), model.image_size)
                for image in images
            ]
            scores, others = model(torch.stack(pixels))
        return scores.numpy(), others.numpy()

    return run


def resized(
    images: Sequence[Images], size: tuple[int, int], intensity: Intensity | None = None
) -> list[Images]:
    """Resize `(H, W, 3)` images as training images are resized, in their own units."""
    levels = (np.ascontiguousarray(to_levels(image, intensity)) for image in images)
    small = [np.ascontiguousarray(resize(each, size).permute(1, 2, 0).numpy()) for each in levels]
    return (
        [in_units(each, intensity._replace(deep_only=True)) for each in small]
        if intensity
        else small
    )


def check_parity(
    cfg: DictConfig,
    expected: Runner,
    exported: Runner,
    images: Sequence[Images],
    sizes: tuple[tuple[int, int], tuple[int, int] | None],
    intensity: Intensity | None = None,
    other: str = "map",
    unit: float = 0.0,
) -> dict[str, Any]:
    """Compare a file with PyTorch: on images of one size, then on their own sizes as well.

    Args:
        cfg: Its tolerances.
        expected: PyTorch.
        exported: The file.
        images: `(H, W, 3)` each, of any sizes.
        sizes: `(h, w)` of the model's images, and `(H, W)` of the file's; None: any size.
        intensity: The model's range of levels.
        other: What there is besides scores: `map` or `logits`.
        unit: See `largest_differences`.

    Returns:
        Differences and tolerances.

    Raises:
        ExportError: If a difference is larger than its tolerance.
    """
    model_size, file_size = sizes
    tolerance = cfg.half_tolerance if cfg.half_reducer else cfg.tolerance
    parts = {"": resized(images, file_size or model_size, intensity)}
    if file_size is None:
        parts["from_any_size_"] = list(images)
    report: dict[str, Any] = {}
    for part, part_images in parts.items():
        score, second = largest_differences(expected, exported, part_images, unit)
        if max(score, second) > tolerance:
            what = "the file's own resize of images" if part else "the file"
            key = "half_tolerance" if cfg.half_reducer else "tolerance"
            msg = (
                f"With {what}, scores differ from PyTorch's by up to {score:.2g} of their value "
                f"and {other.rstrip('s')}s by {second:.2g} of their maximum; "
                f"{key}={tolerance:g} allows less. No file is left behind. Try "
                f"{'half_reducer=false' if cfg.half_reducer else 'another format'}, or allow more "
                "if that suits you."
            )
            raise ExportError(msg)
        report |= {f"{part}score_difference": score, f"{part}{other}_difference": second}
    return report | {"tolerance": tolerance}


def largest_differences(
    expected: Runner, actual: Runner, images: Sequence[Images], unit: float = 0.0
) -> tuple[float, float]:
    """Run both on images `(H, W, 3)`, in batches of up to three neighbours of one size.

    Args:
        expected: PyTorch.
        actual: The file.
        images: To run them on.
        unit: Differences of scores are relative to no less than this; for scores that may be 0.

    Returns:
        The largest difference of scores, relative to the expected score, and of maps or logits,
        relative to the largest of an image; infinite if one is not a number or shapes differ.
    """
    largest = np.zeros(2)
    for batch in _batches(images):
        (scores, others), (actual_scores, actual_others) = expected(batch), actual(batch)
        if actual_scores.shape != scores.shape or actual_others.shape != others.shape:
            return float("inf"), float("inf")
        highest = np.abs(others).max(axis=tuple(range(1, others.ndim)), keepdims=True)
        parts = (
            _relative(actual_scores - scores, np.maximum(np.abs(scores), unit)),
            _relative(actual_others - others, highest),
        )
        largest = np.maximum(largest, parts)
    score, second = np.nan_to_num(largest, nan=np.inf, posinf=np.inf).tolist()
    return score, second


def _relative(difference: NDArray[np.float32], scale: NDArray[np.float32]) -> np.floating:
    tiny = np.finfo(np.float32).tiny
    return np.max(np.abs(difference) / np.maximum(np.abs(scale), tiny))


def _batches(images: Sequence[Images]) -> list[Images]:
    """Batches of three; the last image is alone, so that both kinds of batch are tried."""
    runs = [np.stack([*run]) for _, run in groupby(images[:-1], np.shape)]
    batches = [run[start : start + _BATCH] for run in runs for start in range(0, len(run), _BATCH)]
    return [*batches, images[-1][None]]


def compare_latency(
    cfg: DictConfig, expected: Runner, exported: Runner, image: Images
) -> dict[str, Any]:
    """Time PyTorch and a file, from decoded images to maps, for one image and for a batch.

    Args:
        cfg: Its `latency_batch` and `latency_repeats`.
        expected: PyTorch.
        exported: The file.
        image: `(H, W, 3)`.

    Returns:
        The settings and the medians in milliseconds.
    """
    report: dict[str, Any] = {
        "image_size": list(image.shape[:2]),
        "batch": cfg.latency_batch,
        "n_threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    for name, n in (("single", 1), ("batch", cfg.latency_batch)):
        images = image[None].repeat(n, axis=0)
        milliseconds: dict[str, list[float]] = {"pytorch": [], "exported": []}
        for _ in range(_N_WARM_UP + cfg.latency_repeats):
            # They take turns, so that a busy machine is fair.
            for times, run in zip(milliseconds.values(), (expected, exported), strict=True):
                start = time.perf_counter()
                run(images)
                times.append(1000 * (time.perf_counter() - start))
        for who, times in milliseconds.items():
            report[f"{who}_{name}_ms"] = round(median(times[_N_WARM_UP:]), 2)
    return report
