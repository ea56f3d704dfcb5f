"""Heat maps of single results, on colours that are the same for all images of a detector."""

import io
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from fre_lightning.detector.result import DetectionResult
from fre_lightning.images.reading import to_8_bit
from fre_lightning.pictures.panels import ColorScale, colorize, find_color_scale

_LARGEST_SIDE = 1024
_OPACITY = 0.8


class Pictures(NamedTuple):
    """What a viewer lays over each other.

    Attributes:
        image: RGB, the image as the detector reads it, at most 1024 pixels a side.
        heat_map: RGBA, of the same size; transparent where nothing stands out.
    """

    image: Image.Image
    heat_map: Image.Image


def color_scale(result: DetectionResult) -> ColorScale:
    """The colours' ends: the same for all images of a calibrated detector.

    The pixel threshold is in the middle, so what no normal image shows is yellow to red.
    """
    if result.pixel_threshold is None:
        return find_color_scale(torch.from_numpy(result.anomaly_map)[None])
    return ColorScale(0.0, 2 * result.pixel_threshold)


def draw_pictures(image: Image.Image, result: DetectionResult) -> Pictures:
    """An image and its heat map for a screen."""
    small = to_8_bit(image).convert("RGB")
    small.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    anomaly_map, scale = torch.from_numpy(result.anomaly_map), color_scale(result)
    level = ((anomaly_map - scale.low) / (scale.high - scale.low)).clamp(0, 1)
    alpha = (255 * _OPACITY * level).round().to(torch.uint8).numpy()
    colors = np.dstack([colorize(anomaly_map, scale), alpha])
    return Pictures(small, Image.fromarray(colors).resize(small.size, Image.Resampling.BILINEAR))


def encode(image: Image.Image, image_format: str) -> bytes:
    """A picture as a file: `PNG` or `JPEG`."""
    options = {"compress_level": 1} if image_format == "PNG" else {"quality": 90}
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()
