"""Warnings of what is not read of images, each given once a run."""

import logging
from contextlib import suppress

from PIL import ExifTags, Image

log = logging.getLogger(__name__)

_given: dict[str, object] = {}


def warn_once(message: str, *values: object) -> None:
    """Log a warning, unless one with the same message was given in this run."""
    token = object()
    if _given.setdefault(message, token) is token:  # in one step, for images are read in threads
        log.warning(message, *values)


def start_run() -> None:
    """Let each warning be given again."""
    _given.clear()


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


def check_16_bit(highest: int, name: str = "An array") -> None:
    """Warn of values of 14 bits or fewer, as of many cameras, in an image of 16."""
    if 0 < highest < 2**14:
        warn_once(
            "%s has 16 bits, but its highest level is %d of 65535. All such images are divided by "
            "257, so that this one keeps some %d of 256 grey levels; multiply them all, those for "
            "training too, by one factor that uses the whole range.",
            name,
            highest,
            highest // 256 + 1,
        )


def check_range(low: float, high: float, name: str) -> None:
    """Warn of floating point values outside 0..1."""
    if not (low >= 0 and high <= 1):
        warn_once(
            "%s holds floating point values of %g to %g. Where one exceeds 1 they count as 0..255, "
            "are rounded, and are cut outside; scale all images, those for training too, to 0..1 "
            "by one factor.",
            name,
            low,
            high,
        )
