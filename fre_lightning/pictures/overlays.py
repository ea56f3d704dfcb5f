"""Heat maps of single images, to be laid over the image by a viewer."""

import io
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from fre_lightning.images.intensity import Intensity
from fre_lightning.images.reading import to_8_bit
from fre_lightning.pictures.colors import colorize, dim, find_color_scale

_LARGEST_SIDE = 1024
_OPACITY = 0.8
_OPTIONS = {
    "PNG": {"compress_level": 1},
    "JPEG": {"quality": 90},
    "WEBP": {"quality": 60, "method": 2},
}


class Pictures(NamedTuple):
    """An image and the heat map to lay over it.

    Attributes:
        image: RGB, the image as the detector reads it, at most 1024 pixels a side.
        heat_map: RGBA, of the same size; transparent where nothing stands out.
    """

    image: Image.Image
    heat_map: Image.Image


def draw_pictures(
    image: Image.Image,
    anomaly_map: np.ndarray,
    pixel_threshold: float | None,
    region: np.ndarray | None = None,
    intensity: Intensity | None = None,
) -> Pictures:
    """An image and its heat map for a screen; map and region `(H, W)` have the model's size."""
    small = draw_image(image, intensity)
    if region is not None:
        small = Image.fromarray(dim(np.asarray(small), torch.from_numpy(region)))
    heat = torch.from_numpy(anomaly_map)
    scale = find_color_scale(pixel_threshold, heat)
    alpha = (255 * _OPACITY * scale.level(heat)).round().to(torch.uint8).numpy()
    colors = np.dstack([colorize(heat, scale), alpha])
    return Pictures(small, Image.fromarray(colors).resize(small.size, Image.Resampling.BILINEAR))


def draw_image(image: Image.Image, intensity: Intensity | None = None) -> Image.Image:
    """An image for a screen: RGB, as the detector reads it, at most 1024 pixels a side."""
    small = to_8_bit(image, intensity).convert("RGB")
    small.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return small


def encode(image: Image.Image, image_format: str) -> bytes:
    """The content of a picture file: `PNG`, `JPEG` or `WEBP`."""
    stream = io.BytesIO()
    image.save(stream, image_format, **_OPTIONS[image_format])
    return stream.getvalue()
