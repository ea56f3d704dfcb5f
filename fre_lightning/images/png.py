"""PNG files by libpng, which undoes their filters with vector instructions; Pillow has none."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BANDS = {"L": (), "RGB": (3,)}


def decode_png(opened: Image.Image, path: Path) -> NDArray[np.uint8] | None:
    """The pixels of an 8-bit grey or RGB file: the same levels as Pillow's, in two thirds the time.

    Args:
        opened: What Pillow made of the file's header, before it decodes the pixels.
        path: The file.

    Returns:
        `(H, W)` or `(H, W, 3)`; None if the file is of another kind or damaged, which is then for
        Pillow to read, or to explain.
    """
    if opened.format != "PNG" or opened.mode not in _BANDS:
        return None
    import imagecodecs  # a seventh of a second, which runs on cached features need not spend

    try:
        levels: NDArray[np.uint8] = imagecodecs.png_decode(path.read_bytes())
    except imagecodecs.PngError:
        return None
    shape = (opened.height, opened.width, *_BANDS[opened.mode])
    return levels if levels.dtype == np.uint8 and levels.shape == shape else None
