"""Pairs: an image and its heat map in a row, with the outline of a mask on both."""

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.pictures.colors import ColorScale, blend, colorize, dim

_GAP = 4
_OPACITY = 0.7


def draw_pair(
    pixels: np.ndarray,
    anomaly_map: Tensor | None,
    scale: ColorScale | None,
    mask: Tensor | None = None,
    region: Tensor | None = None,
) -> Image.Image:
    """An image and, if there is one, its heat map; RGBA, with a transparent gap between them.

    Args:
        pixels: `(h, w, 3)` uint8, RGB.
        anomaly_map: `(H, W)` float of any size; None leaves the heat map out.
        scale: Of the heat map's colours.
        mask: `(h, w)` bool, whose outline is drawn.
        region: `(H, W)` bool of any size, outside of which all is dark.
    """
    parts, (height, width) = [pixels], pixels.shape[:2]
    if anomaly_map is not None and scale is not None:
        maps = anomaly_map[None, None]
        small = F.interpolate(maps, (height, width), mode="bilinear", antialias=True)[0, 0]
        parts.append(blend(pixels, colorize(small, scale), _OPACITY))
    lines = [] if mask is None else _outline(mask)
    picture = Image.new("RGBA", (len(parts) * (width + _GAP) - _GAP, height))
    for i, part in enumerate(dim(part, region) for part in parts):
        for where, level in lines:
            part[where] = level
        picture.paste(Image.fromarray(part), (i * (width + _GAP), 0))
    return picture


def _outline(mask: Tensor) -> list[tuple[np.ndarray, int]]:
    """The pixels `(h, w)` and levels of a black and, within it, a white line around a mask."""
    inside = mask.float()[None]
    once = F.max_pool2d(inside, 3, 1, 1)
    twice = F.max_pool2d(once, 3, 1, 1)
    return [((twice > once)[0].numpy(), 0), ((once > inside)[0].numpy(), 255)]
