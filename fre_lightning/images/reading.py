"""Image files to tensors: decode and resize."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.decoding import DECODING_ERRORS, decode, decode_file, opaque
from fre_lightning.images.header import header_of
from fre_lightning.images.intensity import Intensity, to_levels
from fre_lightning.images.notices import name_of
from fre_lightning.images.resizing import resize

# Line-scan cameras do take images of 90 million pixels; twice as many are still an error. This is
# set once because it is not safe to change the filters around each image in threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
if (_max_pixels := os.environ.get("FRE_MAX_PIXELS", "")).isdecimal():
    Image.MAX_IMAGE_PIXELS = (int(_max_pixels) + 1) // 2  # Pillow raises from twice as many on


def reason_of(error: BaseException) -> str:
    """What is wrong with a file, to stand in brackets."""
    reason = str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        reason = f"{reason.rstrip('.')}; FRE_MAX_PIXELS=400000000 in the environment raises it"
    return reason


def read_image(
    path: Path,
    image_size: tuple[int, int],
    intensity: Intensity | None = None,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Tensor:
    """Decode an image file and resize it with Lanczos.

    Pixels are read as they are stored, in masks too: an orientation in EXIF data is ignored, with a
    warning. (That of a TIFF is a part of its format, and followed.) Of several pages the first is
    read, with a warning.

    Args:
        path: A file that Pillow can read, a TIFF or a `.npy` array; any mode and depth, any size up
            to some 179 million pixels, or the number in the environment variable `FRE_MAX_PIXELS`.
        image_size: `(H, W)` of the result.
        intensity: The range of its levels; None as `to_levels` says.
        change: What is done to its levels `(h, w)` or `(h, w, 3)` before the resize.

    Returns:
        `(3, H, W)` uint8, RGB; greyscale is repeated.

    Raises:
        UnreadableImageError: If the file is missing, truncated or no image.
    """
    try:
        # Grey is repeated after the resize, to resize a third of the data.
        levels = read_levels(path, intensity)
        resized = resize(levels if change is None else change(levels), image_size)
    except DECODING_ERRORS as error:
        msg = (
            f"{path} cannot be read as an image ({reason_of(error)}). Repair or remove the file, "
            "or leave such files out with dataset.skip_unreadable=true."
        )
        raise UnreadableImageError(msg) from error
    return resized.expand(3, -1, -1)


def read_levels(path: Path, intensity: Intensity | None = None) -> NDArray[np.uint8]:
    """Decode an image file to 8 bits: `(h, w)`, or `(h, w, 3)` RGB.

    Raises:
        One of `DECODING_ERRORS`: If the file is missing, damaged or no image.
    """
    return to_levels(decode_file(path), intensity, str(path))


def to_8_bit(image: Image.Image, intensity: Intensity | None = None) -> Image.Image:
    """Convert an image that Pillow has opened, of any depth, to 8-bit grey (`L`) or RGB."""
    if intensity is None and not header_of(image).is_deep:
        return opaque(image)  # not decoded before it must be
    return Image.fromarray(to_levels(decode(image), intensity, name_of(image)))
