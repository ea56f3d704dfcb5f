"""Image files to values: 8 bits as they are stored, deeper ones in the file's own units."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fre_lightning.images.header import Header, header_of
from fre_lightning.images.notices import check_header

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,  # of imagecodecs
    struct.error,
    Image.DecompressionBombError,
)
"""The errors of Pillow, NumPy and imagecodecs for files that are missing, damaged or no images."""

_PNG_BANDS = {"L": (), "RGB": (3,)}
_CHANNELS = {(), (1,), (2,), (3,), (4,)}


def decode_file(path: Path) -> NDArray[Any]:
    """Decode an image file; of several pages the first.

    Args:
        path: A file that Pillow can read, a TIFF of any depth, or a `.npy` array.

    Returns:
        `(h, w)` or `(h, w, 3)`, RGB: uint8 for files of up to 8 bits, else as stored.

    Raises:
        One of `DECODING_ERRORS`: If the file is missing, damaged or no image.
    """
    if path.suffix.lower() == ".npy":
        return flatten_channels(np.load(path, allow_pickle=False))
    try:
        with Image.open(path) as opened:
            return decode(opened)
    except UnidentifiedImageError:
        if path.suffix.lower() not in {".tif", ".tiff"}:
            raise
        return flatten_channels(_decode_tiff(path.read_bytes()))


def decode(image: Image.Image) -> NDArray[Any]:
    """Decode an image that Pillow has opened; see `decode_file`."""
    check_header(image)
    header = header_of(image)
    if header.format == "PNG" and (header.bits == 16 or header.mode in _PNG_BANDS):
        values = _decode_png(_encoded(image), header)
        if values is not None:
            return values
    if header.is_deep and header.mode[0] in "IF":
        return np.asarray(image)
    if header.format == "TIFF" and header.is_deep:
        return flatten_channels(_decode_tiff(_encoded(image)))
    return np.array(opaque(image))


def opaque(image: Image.Image, background: str = "white") -> Image.Image:
    """Convert an image of up to 8 bits to grey (`L`) if it is grey, else to RGB.

    Transparent images are laid on the background: viewers do not show colours under alpha 0 either.
    """
    mode = "L" if image.mode in {"L", "1", "LA"} else "RGB"
    if image.has_transparency_data:
        layer, opaque = image.convert("RGBA"), Image.new(mode, image.size, background)
        opaque.paste(layer.convert(mode), mask=layer.getchannel("A"))
        return opaque
    return image if image.mode == mode else image.convert(mode)


def _encoded(image: Image.Image) -> bytes:
    """The content of the file that an image was opened from; empty if it is decoded already."""
    stream = getattr(image, "fp", None)
    if stream is None or not getattr(image, "tile", ()):
        return b""
    position = stream.tell()
    try:
        stream.seek(0)
        content: bytes = stream.read()
        return content
    finally:
        stream.seek(position)


def _decode_png(encoded: bytes, header: Header) -> NDArray[Any] | None:
    """Decode a PNG file by libpng, which undoes PNG's filters with SIMD.

    The levels of 8 bits are the same as Pillow's, in two thirds of the time. Of 16 bits Pillow
    would drop half in colour images.

    Returns:
        None for damaged files and transparent 8-bit ones: Pillow then reads the file or explains
        its error.
    """
    import imagecodecs  # takes 0.14 s, which runs on cached features save

    try:
        values: NDArray[Any] = imagecodecs.png_decode(encoded)
    except imagecodecs.PngError:
        return None
    if header.bits == 16:
        return flatten_channels(values) if values.dtype == np.uint16 else None
    shape = (*header.size, *_PNG_BANDS[header.mode])
    return values if values.dtype == np.uint8 and values.shape == shape else None


def _decode_tiff(encoded: bytes) -> NDArray[Any]:
    import imagecodecs  # as above

    values: NDArray[Any] = imagecodecs.tiff_decode(encoded)
    return values


def flatten_channels(values: NDArray[Any]) -> NDArray[Any]:
    """Values of one to four channels as grey or RGB, those with alpha on white.

    Args:
        values: `(h, w)` or `(h, w, 1 to 4)`; white is the highest integer, or 1.

    Raises:
        ValueError: If they have the shape of no image, or are no numbers.
    """
    if values.ndim not in {2, 3} or values.shape[2:] not in _CHANNELS or 0 in values.shape:
        msg = f"an array of shape {values.shape} is no image"
        raise ValueError(msg)
    if values.dtype.kind not in "buif":
        msg = f"an array of {values.dtype} is no image"
        raise ValueError(msg)
    n_channels = 1 if values.ndim == 2 else values.shape[2]
    if n_channels in {2, 4}:
        white = float(np.iinfo(values.dtype).max) if values.dtype.kind in "ui" else 1.0
        alpha = values[..., -1:] / white
        laid = values[..., :-1] * alpha + white * (1 - alpha)
        values = (np.rint(laid) if values.dtype.kind in "ui" else laid).astype(values.dtype)
    return values[..., 0] if n_channels in {1, 2} and values.ndim == 3 else values
