"""Warnings of what is not read of images, each given once a run."""

import logging
from contextlib import suppress

from PIL import ExifTags, Image

log = logging.getLogger(__name__)

_given: dict[str, object] = {}
_outside: list[str] = []


def warn_once(message: str, *values: object) -> None:
    """Log a warning, unless one with the same message was given in this run."""
    token = object()
    if _given.setdefault(message, token) is token:  # in one step, for images are read in threads
        log.warning(message, *values)


def start_run() -> None:
    """Let each warning be given again, and count from 0."""
    _given.clear()
    _outside.clear()


def name_of(image: Image.Image) -> str:
    """The file's path if there is one, to begin a sentence with."""
    return getattr(image, "filename", "") or "An image"


def orientation(image: Image.Image) -> int:
    """The orientation in the EXIF data of a file: 1 as stored, above 4 with sides exchanged."""
    with suppress(Exception):  # damaged EXIF data; the pixels may be sound
        if "exif" in image.info:  # else Pillow would decode a PNG to look for it
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def check_header(image: Image.Image) -> None:
    """Warn of a file that viewers show otherwise than it is read; nothing is decoded."""
    if orientation(image) > 1:
        warn_once(
            "%s is turned in viewers by the orientation in its EXIF data; here it and all others "
            "are read as they are stored.",
            name_of(image),
        )
    if image.format != "MPO" and getattr(image, "is_animated", False):  # MPO: a photo's previews
        warn_once(
            "%s has more than one page; of it and all others the first is read.", name_of(image)
        )


def check_16_bit(highest: int, name: str) -> None:
    """Warn of values of 14 bits or fewer, as of many cameras, in an image of 16."""
    if 0 < highest < 2**14:
        warn_once(
            "%s has 16 bits, but its highest level is %d of 65535. The detector knows 8 bits only, "
            "so that such images are divided by 257, and this one keeps some %d of 256 grey "
            "levels. Train it on images of the same depth.",
            name,
            highest,
            highest // 256 + 1,
        )


def check_range(low: float, high: float, name: str) -> None:
    """Warn of floating point values outside 0..1."""
    if not (low >= 0 and high <= 1):
        warn_once(
            "%s holds floating point values of %g to %g. The detector knows 8 bits only: where one "
            "exceeds 1 they count as 0..255, are rounded, and are cut outside. Train it on images "
            "of the same kind.",
            name,
            low,
            high,
        )


def count_outside(name: str, lowest: float, highest: float, low: float, high: float) -> None:
    """Count an image whose levels lie outside of the range of training, and warn of the first."""
    _outside.append(name)
    warn_once(
        "%s has levels from %g to %g, outside of %g to %g, the range of the training images: they "
        "are cut. Its exposure or depth is another.",
        name,
        lowest,
        highest,
        low,
        high,
    )


def n_outside() -> int:
    """The number of images of this run that `count_outside` counted."""
    return len(_outside)
