"""Image files to tensors: decode and resize."""

import os
import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.notices import check_16_bit, check_header, check_range, name_of
from fre_lightning.images.resizing import resize

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
"""Pillow's errors for files that are missing, damaged, no images or absurdly large."""

_PNG_BANDS = {"L": (), "RGB": (3,)}

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


def read_image(path: Path, image_size: tuple[int, int]) -> Tensor:
    """Decode an image file and resize it with Lanczos.

    Pixels are read as they are stored, in masks too: an orientation in EXIF data is ignored, with a
    warning. (That of a TIFF is a part of its format, and followed.) Of several pages the first is
    read, with a warning.

    Args:
        path: A file that Pillow can read; any mode, any size up to some 179 million pixels, or
            the number in the environment variable `FRE_MAX_PIXELS`.
        image_size: `(H, W)` of the result.

    Returns:
        `(3, H, W)` uint8, RGB; greyscale is repeated.

    Raises:
        UnreadableImageError: If the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as opened:
            check_header(opened)
            levels = decode_png(opened, path)
            if levels is None:
                levels = np.array(to_8_bit(opened))
        # Grey is repeated after the resize, to resize a third of the data.
        resized = resize(levels, image_size)
    except DECODING_ERRORS as error:
        msg = (
            f"{path} cannot be read as an image ({reason_of(error)}). Repair or remove the file, "
            "or leave such files out with dataset.skip_unreadable=true."
        )
        raise UnreadableImageError(msg) from error
    return resized.expand(3, -1, -1)


def to_8_bit(image: Image.Image, background: str = "white") -> Image.Image:
    """Convert a Pillow image to 8-bit grey (`L`) if it is grey, else to RGB.

    Transparent images are laid on the background: viewers do not show colours under alpha 0 either.
    16-bit greyscale keeps its top 8 bits; Pillow's own conversion clips it at 255. 32-bit integers
    count as 16-bit data, because Pillow reads some 16-bit files so. Floating point values count as
    0..1 if none exceeds 1, else as 0..255. Images that lose most of their levels so are warned of.
    """
    is_deep = ";16" in str(getattr(image, "tile", ())[:1])  # known before it is decoded
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64)
        check_16_bit(int(values.max(initial=0.0)), name_of(image))
        values /= 257.0
    elif image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        low, high = values.min(initial=0.0), values.max(initial=0.0)
        check_range(low, high, name_of(image))
        values = values * 255.0 if high <= 1.0 else values
    else:
        mode = "L" if image.mode in {"L", "1", "LA"} else "RGB"
        if image.has_transparency_data:
            layer, opaque = image.convert("RGBA"), Image.new(mode, image.size, background)
            opaque.paste(layer.convert(mode), mask=layer.getchannel("A"))
            return opaque
        if is_deep:  # RGB, of which Pillow keeps the upper byte
            highest = np.asarray(image).max()
            check_16_bit(int(highest and 256 * int(highest) + 255), name_of(image))
        return image if image.mode == mode else image.convert(mode)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def decode_png(opened: Image.Image, path: Path) -> NDArray[np.uint8] | None:
    """Decode an 8-bit grey or RGB PNG file by libpng, which undoes PNG's filters with SIMD.

    The levels are the same as Pillow's, in two thirds of the time.

    Args:
        opened: The file as opened by Pillow, not decoded yet.
        path: The file.

    Returns:
        `(H, W)` or `(H, W, 3)`; None for damaged files and all other kinds: Pillow then reads the
        file or explains its error.
    """
    if opened.format != "PNG" or opened.mode not in _PNG_BANDS:
        return None
    import imagecodecs  # takes 0.14 s, which runs on cached features save

    try:
        levels: NDArray[np.uint8] = imagecodecs.png_decode(path.read_bytes())
    except imagecodecs.PngError:
        return None
    shape = (opened.height, opened.width, *_PNG_BANDS[opened.mode])
    return levels if levels.dtype == np.uint8 and levels.shape == shape else None
