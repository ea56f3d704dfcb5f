"""Resizing: images with Lanczos as Pillow does, anomaly maps bilinearly as published."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.errors import ConfigError

_USES_TORCH = torch.__version__ >= "2.14"  # from then on it can resize with Lanczos

PREPROCESSING = f"{'torch' if _USES_TORCH else 'pillow'}-lanczos-rgb8-v3"
"""Name of the preprocessing in `read_image`: a part of every cache key, to be changed with it."""


def parse_image_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """`image_size` as `(height, width)`; one number stands for a square.

    Raises:
        ConfigError: If it is neither one nor two positive integers.
    """
    sides = tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        msg = f"image_size must be one number or [height, width], both positive; got {image_size}."
        raise ConfigError(msg)
    return sides[0], sides[1]


def resize(levels: NDArray[np.uint8], image_size: tuple[int, int]) -> Tensor:
    """Resize an image with Lanczos as Pillow does.

    Torch's own resize is several times as fast. It gives the same levels except in one pixel of
    fifty, where they differ by at most 2 of 255. Both filter rows, round, then filter columns;
    Pillow reverses the order for images that shrink more in height than in width, so Pillow
    resizes those.

    Args:
        levels: `(h, w)` or `(h, w, 3)`; writable, because torch demands it.
        image_size: `(H, W)`.

    Returns:
        `(C, H, W)` uint8, C = 1 or 3.
    """
    height, width = image_size
    if _USES_TORCH and levels.shape[1] * height >= levels.shape[0] * width:
        channels = torch.from_numpy(levels.reshape(*levels.shape[:2], -1)).permute(2, 0, 1)
        return F.interpolate(channels[None], size=image_size, mode="lanczos", antialias=True)[0]
    resized = Image.fromarray(levels).resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(resized).reshape(height, width, -1)).permute(2, 0, 1)


def resize_map(maps: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly with antialias, as published.

    Args:
        maps: `(N, h, w)`.
        image_size: `(H, W)`.

    Returns:
        `(N, H, W)`.
    """
    if maps.shape[1:] == image_size:
        return maps
    # Antialias changes nothing when a map grows, and costs several times as much.
    shrinks = maps.shape[1] > image_size[0] or maps.shape[2] > image_size[1]
    return F.interpolate(maps[:, None], size=image_size, mode="bilinear", antialias=shrinks)[:, 0]
