"""Verdicts: what a detector says of one image, as a picture for a notebook or a screen."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fre_lightning.images.resizing import resize_map
from fre_lightning.pictures.colors import find_color_scale
from fre_lightning.pictures.pairs import draw_pair

_SIDE = 360
"""Pixels of the longer side of the image."""
_LINE = 24
_TEXT = 15
_INK = "black"


def draw_verdict(
    pixels: np.ndarray,
    anomaly_map: np.ndarray,
    pixel_threshold: float | None,
    region: np.ndarray | None,
    image_size: tuple[int, int],
    caption: str,
) -> Image.Image:
    """The image and its heat map, both with the outline of what stands out, above a caption; RGB.

    Args:
        pixels: `(H, W, 3)` uint8, the image at the model's size.
        anomaly_map: `(H, W)` float32.
        pixel_threshold: Above which a pixel stands out; None: no outline.
        region: `(H, W)` bool, outside of which all is dark; None: the image counts everywhere.
        image_size: `(height, width)` of the image itself, whose shape the picture has.
        caption: A line of text; it is drawn over several where the image is narrow.
    """
    height, width = (max(1, round(side * _SIDE / max(image_size))) for side in image_size)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    maps = torch.from_numpy(anomaly_map)
    mask = None
    if pixel_threshold is not None:
        mask = resize_map(maps[None], (height, width))[0] > pixel_threshold
    inside = None if region is None else torch.from_numpy(region)
    scale = find_color_scale(pixel_threshold, maps)
    pair = draw_pair(np.array(image), maps, scale, mask, inside)
    font = ImageFont.load_default(_TEXT)
    lines = _wrap(caption, font, pair.width)
    sheet = Image.new("RGB", (pair.width, pair.height + _LINE * len(lines)), "white")
    sheet.paste(pair, mask=pair)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((2, pair.height + number * _LINE + 2), line, fill=_INK, font=font)
    return sheet


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines no wider than a width, as far as words allow."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
