"""Colours of anomaly maps: the scale, and colour maps on it."""

from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from torch import Tensor

from fre_lightning.images.resizing import resize_map

_COLORS = "inferno"  # its lightness ascends, so that it can be read without seeing colours
_DIMMED = 4


class ColorScale(NamedTuple):
    """The values at the two ends of the colours, one pair for all images of a detector."""

    low: float
    high: float

    def level(self, anomaly_map: Tensor) -> Tensor:
        """Where between the ends each value lies, 0 to 1."""
        return ((anomaly_map - self.low) / (self.high - self.low)).clamp(0, 1)


def find_color_scale(pixel_threshold: float | None, maps: Tensor) -> ColorScale:
    """The scale of a detector, tied to the value that few normal images exceed anywhere.

    A normal image is dark everywhere, also among normal images alone, and an image looks the same
    whatever it is shown with. Without a threshold the maps `(N, h, w)` decide: the scale starts
    at their median and ends where only one cell in 500 lies above.
    """
    if pixel_threshold is not None:
        return ColorScale(pixel_threshold / 2, 2 * pixel_threshold)
    low, high = np.quantile(maps.numpy(), [0.5, 0.998]).tolist()
    return ColorScale(low, high if high > low else low + 1.0)


def colorize(anomaly_map: Tensor, scale: ColorScale) -> np.ndarray:
    """Colours of an anomaly map: `(H, W)` to `(H, W, 3)` uint8."""
    colors: np.ndarray = mpl.colormaps[_COLORS](scale.level(anomaly_map).numpy(), bytes=True)
    return colors[..., :3]


def dim(pixels: np.ndarray, region: Tensor | None) -> np.ndarray:
    """An image `(H, W, 3)` uint8, darker outside of a region `(h, w)` bool; None: no region."""
    if region is None:
        return pixels
    height, width = pixels.shape[:2]
    inside = resize_map(region[None].float(), (height, width))[0].numpy() > 0.5
    dimmed: np.ndarray = np.where(inside[..., None], pixels, pixels // _DIMMED)
    return dimmed


def blend(pixels: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """Colours laid over an image, `(H, W, 3)` uint8 each."""
    return ((1 - opacity) * pixels + opacity * colors).astype(np.uint8)
