"""What the header of an image file says, without decoding the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.notices import orientation
from fre_lightning.threads import map_ahead, thread_pool


class Header(NamedTuple):
    """The header of an image file.

    Attributes:
        size: `(height, width)` as stored.
        mode: Pillow's name of the channels: `L`, `RGB`, `RGBA`, `P`, `I;16`, `F` and so on.
        bits: Bits of a level: 1, 8, 16, 32 or 64.
        format: Pillow's name of the format.
        orientation: In EXIF data: 1 as stored, above 4 with sides exchanged.
    """

    size: tuple[int, int]
    mode: str
    bits: int
    format: str
    orientation: int = 1

    @property
    def is_deep(self) -> bool:
        """Whether it has more than 8 bits."""
        return self.bits > 8


def header_of(image: Image.Image) -> Header:
    """The header of a file that Pillow has opened and not decoded yet."""
    raw_mode = str(getattr(image, "tile", ())[:1])  # RGB;16B becomes RGB when it is decoded
    if image.mode == "1":
        bits = 1
    elif ";16" in raw_mode or ";16" in image.mode:
        bits = 16
    else:
        bits = 32 if image.mode in {"I", "F"} else 8
    size, kind = (image.height, image.width), image.format or ""
    return Header(size, image.mode, bits, kind, orientation(image))


def read_header(path: Path) -> Header:
    """Read the header of an image file.

    Raises:
        UnreadableImageError: If the file is missing, or no image.
    """
    try:
        if path.suffix.lower() == ".npy":
            return _header_of_array(np.load(path, mmap_mode="r", allow_pickle=False), "NPY")
        try:
            with Image.open(path) as image:
                return header_of(image)
        except UnidentifiedImageError:
            if path.suffix.lower() not in {".tif", ".tiff"}:
                raise
            import imagecodecs  # knows more kinds; 0.14 s

            return _header_of_array(imagecodecs.tiff_decode(path.read_bytes()), "TIFF")
    except Exception as error:  # damage makes Pillow raise anything
        msg = f"{path} cannot be read as an image ({error or type(error).__name__})."
        raise UnreadableImageError(msg) from error


def read_headers(paths: Sequence[Path], n_threads: int) -> list[Header | None]:
    """Read the headers of image files in threads; None for those that cannot be read."""

    def read(path: Path) -> Header | None:
        try:
            return read_header(path)
        except UnreadableImageError:  # told of when the image is decoded
            return None

    with thread_pool(n_threads, "headers") as pool:
        return list(map_ahead(pool, read, paths, 4 * n_threads))


def _header_of_array(values: NDArray[Any], kind: str) -> Header:
    height, width = values.shape[:2]
    mode = "F" if values.dtype.kind == "f" else "L" if values.shape[2:] in {(), (1,)} else "RGB"
    return Header((height, width), mode, 8 * values.dtype.itemsize, kind)
