"""Images from files or memory, prepared for a detector exactly as training images are."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.notices import check_16_bit, check_header
from fre_lightning.images.reading import read_image, reason_of, to_8_bit
from fre_lightning.images.resizing import resize

ImageLike = Image.Image | NDArray[Any] | Tensor | str | os.PathLike[str]
"""A path, a Pillow image, an array `(H, W)` or `(H, W, 3)`, or a tensor `(3, H, W)`."""


class PreparedImage(NamedTuple):
    """An image at the model's size.

    Attributes:
        pixels: `(3, H, W)` uint8, RGB.
        size: Original `(height, width)`.
    """

    pixels: Tensor
    size: tuple[int, int]


def prepare_image(image: ImageLike, image_size: tuple[int, int]) -> PreparedImage:
    """Read an image and resize it as for training.

    Arrays and tensors are RGB or grey, on white by a fourth channel (alpha). uint8 stays as it is,
    uint16 keeps its top 8 bits as 16-bit files do, bool is black and white, and floating point
    values must lie in 0..1. An orientation in EXIF data is ignored, as in training.

    Args:
        image: A path, Pillow image, `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)` array, or
            `(H, W)`, `(1, H, W)`, `(3, H, W)` or `(4, H, W)` tensor.
        image_size: `(H, W)` of the result.

    Raises:
        UnreadableImageError: If a file cannot be decoded, or an array has another shape or range.
        TypeError: If it has another type.
    """
    if isinstance(image, str | os.PathLike):
        return _prepare_file(Path(image), image_size)
    image = _to_pillow(image)
    try:
        check_header(image)
        pixels = resize(np.array(to_8_bit(image)), image_size)
    except Exception as error:  # damage makes Pillow raise anything; none may end a server
        msg = f"The image cannot be decoded ({error or type(error).__name__})."
        raise UnreadableImageError(msg) from error
    return PreparedImage(pixels.expand(3, -1, -1), (image.height, image.width))


def _prepare_file(path: Path, image_size: tuple[int, int]) -> PreparedImage:
    try:
        with Image.open(path) as header:
            size = header.height, header.width
        return PreparedImage(read_image(path, image_size), size)
    except Exception as error:  # as above
        reason = reason_of((isinstance(error, UnreadableImageError) and error.__cause__) or error)
        msg = f"{path} cannot be read as an image ({reason})."
        raise UnreadableImageError(msg) from error


def _to_pillow(image: object) -> Image.Image:
    if isinstance(image, Image.Image):
        if 0 in image.size:
            msg = f"An image of {image.width}x{image.height} pixels shows nothing."
            raise UnreadableImageError(msg)
        return image
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
    array = array[..., 0] if array.shape[2:] == (1,) else array
    return Image.fromarray(np.ascontiguousarray(_levels(array)))


def _levels(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        check_16_bit(int(array.max()))
        return np.rint(array / 257.0).astype(np.uint8)
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
    return np.rint(array.astype(np.float64) * 255.0).astype(np.uint8)
