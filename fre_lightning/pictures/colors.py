"""Colours of anomaly maps: the scale, and colour maps on it."""

from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

from fre_lightning.detector.result import DetectionResult


class ColorScale(NamedTuple):
    """The values at the two ends of the colours, one pair for all images of a category."""

    low: float
    high: float

    def level(self, anomaly_map: Tensor) -> Tensor:
        """Where between the ends each value lies, 0 to 1."""
        return ((anomaly_map - self.low) / (self.high - self.low)).clamp(0, 1)


def find_color_scale(error_maps: Tensor) -> ColorScale:
    """The scale of a test set's error maps `(N, h, w)`.

    It starts at the median, so that what is normal stays dark, and ends where only one cell in
    500 lies above, so that a single extreme image doesn't pale all the others.
    """
    low, high = np.quantile(error_maps.numpy(), [0.5, 0.998]).tolist()
    return ColorScale(low, high if high > low else low + 1.0)


def color_scale(result: DetectionResult) -> ColorScale:
    """The scale of a single result: the same for all images of a calibrated detector.

    The pixel threshold is in the middle, so values of no normal image are yellow to red.
    """
    if result.pixel_threshold is None:
        return find_color_scale(torch.from_numpy(result.anomaly_map)[None])
    return ColorScale(0.0, 2 * result.pixel_threshold)


def colorize(anomaly_map: Tensor, scale: ColorScale, name: str = "turbo") -> np.ndarray:
    """Colours of an anomaly map by a colour map of matplotlib's: `(H, W)` to `(H, W, 3)` uint8."""
    colors: np.ndarray = mpl.colormaps[name](scale.level(anomaly_map).numpy(), bytes=True)
    return colors[..., :3]


def blend(pixels: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """Colours laid over an image, `(H, W, 3)` uint8 each."""
    return ((1 - opacity) * pixels + opacity * colors).astype(np.uint8)
