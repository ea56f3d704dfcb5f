"""The time that PyTorch and an exported file take."""

import platform
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig

from fre_lightning.export.base import Images, Runner

_N_WARM_UP = 2


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
        medians = _measure((expected, exported), images, cfg.latency_repeats)
        for who, milliseconds in zip(("pytorch", "exported"), medians, strict=True):
            report[f"{who}_{name}_ms"] = round(milliseconds, 2)
    return report


def _measure(runners: Sequence[Runner], images: Images, n_repeats: int) -> list[float]:
    """Median milliseconds per call; the runners take turns, so that a busy machine is fair."""
    milliseconds: list[list[float]] = [[] for _ in runners]
    for _ in range(_N_WARM_UP + n_repeats):
        for times, run in zip(milliseconds, runners, strict=True):
            start = time.perf_counter()
            run(images)
            times.append(1000 * (time.perf_counter() - start))
    return [median(times[_N_WARM_UP:]) for times in milliseconds]
