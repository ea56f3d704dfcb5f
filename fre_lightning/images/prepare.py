"""Images from files or memory, prepared for a detector exactly as training images are."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.decoding import (
    DECODING_ERRORS,
    decode,
    decode_file,
    flatten_channels,
    opaque,
)
from fre_lightning.images.header import read_header
from fre_lightning.images.intensity import Intensity, to_levels
from fre_lightning.images.notices import name_of, warn_once
from fre_lightning.images.reading import read_image, reason_of
from fre_lightning.images.resizing import resize

ImageLike = Image.Image | NDArray[Any] | Tensor | str | os.PathLike[str]
"""A path, a Pillow image, an array `(H, W)` or `(H, W, 3)`, or a tensor `(3, H, W)`."""


class PreparedImage(NamedTuple):
    """An image at the model's size.

    Attributes:
        pixels: `(3, H, W)` uint8, RGB.
        size: Original `(height, width)`.
        region: `(H, W)` bool, where the image counts; None if it has no region of its own.
    """

    pixels: Tensor
    size: tuple[int, int]
    region: Tensor | None = None


def prepare_image(
    image: ImageLike, image_size: tuple[int, int], intensity: Intensity | None = None
) -> PreparedImage:
    """Read an image and resize it as for training.

    Arrays and tensors are RGB or grey, on white by a fourth channel (alpha), in the units of the
    files that the detector was trained on. Those of uint8 stay as they are, unless a range for 8
    bits was set; bool is black and white. For a detector of 8-bit images uint16 keeps its top 8
    bits, as 16-bit files do, and floating point values must lie in 0..1. An orientation in EXIF
    data is ignored, as in training.

    Args:
        image: A path, Pillow image, `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)` array, or
            `(H, W)`, `(1, H, W)`, `(3, H, W)` or `(4, H, W)` tensor.
        image_size: `(H, W)` of the result.
        intensity: The range of levels of the detector's training images.

    Raises:
        UnreadableImageError: If a file cannot be decoded, or an array has another shape or range.
        TypeError: If it has another type.
    """
    if isinstance(image, str | os.PathLike):
        return _prepare_file(Path(image), image_size, intensity)
    try:
        levels = _read(image, intensity)
        pixels = resize(levels, image_size)
    except (UnreadableImageError, TypeError):
        raise
    except Exception as error:  # damage makes Pillow raise anything; none may end a server
        msg = f"The image cannot be decoded ({error or type(error).__name__})."
        raise UnreadableImageError(msg) from error
    return PreparedImage(pixels.expand(3, -1, -1), (levels.shape[0], levels.shape[1]))


def values_of(image: ImageLike) -> NDArray[Any]:
    """The values of an image as a file would hold them: `(h, w)`, or `(h, w, 3 or 4)`.

    Raises:
        UnreadableImageError: If a file cannot be decoded, or an array has the shape of no image.
        TypeError: If it has another type.
    """
    try:
        if isinstance(image, str | os.PathLike):
            return decode_file(Path(image))
        return decode(image) if isinstance(image, Image.Image) else _to_array(image)
    except DECODING_ERRORS as error:
        msg = f"The image {image} cannot be decoded ({reason_of(error)})."
        raise UnreadableImageError(msg) from error


def _prepare_file(
    path: Path, image_size: tuple[int, int], intensity: Intensity | None
) -> PreparedImage:
    try:
        return PreparedImage(read_image(path, image_size, intensity), read_header(path).size)
    except Exception as error:  # as above
        reason = reason_of((isinstance(error, UnreadableImageError) and error.__cause__) or error)
        msg = f"{path} cannot be read as an image ({reason})."
        raise UnreadableImageError(msg) from error


def _read(image: object, intensity: Intensity | None) -> NDArray[np.uint8]:
    """The levels `(h, w)` or `(h, w, 3)` of an image in memory, writable."""
    if isinstance(image, Image.Image):
        if 0 in image.size:
            msg = f"An image of {image.width}x{image.height} pixels shows nothing."
            raise UnreadableImageError(msg)
        return to_levels(decode(image), intensity, name_of(image))
    array = _to_array(image)
    if array.dtype in (np.uint8, np.bool_):
        if intensity and intensity.deep_only and array.dtype == np.uint8:
            warn_once("An array has 8 bits, and the detector was trained on deeper images.")
        levels = np.ascontiguousarray(to_levels(array, intensity))
        return np.array(opaque(Image.fromarray(levels)))
    if intensity is None:
        _check_range(array)
    return to_levels(flatten_channels(array), intensity)


def _to_array(image: object) -> NDArray[Any]:
    """An array `(h, w)`, `(h, w, 3)` or `(h, w, 4)` from an array or a tensor."""
    if isinstance(image, Tensor):
        expected, tensor = "(H, W), (1, H, W), (3, H, W) or (4, H, W)", image.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    elif isinstance(image, np.ndarray):
        expected, array = "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4)", image
    else:
        msg = f"An image is a path, a Pillow image, an array or a tensor, not {type(image)}."
        raise TypeError(msg)
    if array.ndim < 2 or array.size == 0 or array.shape[2:] not in {(), (1,), (3,), (4,)}:
        kind, shape = type(image).__name__, tuple(image.shape)
        msg = f"A {kind} of shape {shape} is no image; {expected} with pixels is expected."
        raise UnreadableImageError(msg)
    return array[..., 0] if array.shape[2:] == (1,) else array


def _check_range(array: NDArray[Any]) -> None:
    """Refuse what a detector of 8-bit images cannot know the range of."""
    if array.dtype == np.uint16:
        return
    if not np.issubdtype(array.dtype, np.floating):
        msg = f"Images of {array.dtype} have no known range. Convert to uint8, uint16 or 0..1."
        raise UnreadableImageError(msg)
    low, high = float(array.min()), float(array.max())
    if not (low >= 0.0 and high <= 1.0):
        msg = (
            f"Floating point images must lie in 0..1; this one holds {low:g} to {high:g}. "
            "Divide by 255, or undo a normalisation: the detector does its own."
        )
        raise UnreadableImageError(msg)
