"""What the header of an image file says, without decoding the file."""

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fre_lightning.errors import UnreadableImageError


class Header(NamedTuple):
    """The header of an image file.

    Attributes:
        size: `(height, width)` as stored.
        mode: Pillow's name of the channels: `L`, `RGB`, `RGBA`, `P`, `I;16`, `F` and so on.
        bits: Bits of a level: 1, 8, 16 or 32.
        format: Pillow's name of the format.
    """

    size: tuple[int, int]
    mode: str
    bits: int
    format: str

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
    return Header((image.height, image.width), image.mode, bits, image.format or "")


def read_header(path: Path) -> Header:
    """Read the header of an image file.

    Raises:
        UnreadableImageError: If the file is missing, or no image.
    """
    try:
        with Image.open(path) as image:
            return header_of(image)
    except Exception as error:  # damage makes Pillow raise anything
        msg = f"{path} cannot be read as an image ({error or type(error).__name__})."
        raise UnreadableImageError(msg) from error
