"""Mask files to tensors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fre_lightning.errors import DatasetError
from fre_lightning.images.decoding import DECODING_ERRORS, decode, opaque
from fre_lightning.images.header import header_of, read_header
from fre_lightning.images.intensity import to_levels
from fre_lightning.images.reading import reason_of
from fre_lightning.images.resizing import resize_map

_FORMAT = "as an 8-bit PNG: 0 for good pixels, 255 for defective ones."

_LOSSY = {"AVIF", "JPEG", "JPEG2000", "MPO", "WEBP"}


def read_mask(
    mask_paths: Sequence[Path], image_path: Path, image_size: tuple[int, int] | None = None
) -> Tensor:
    """Decode the masks of a defective image and resize them as anomaly maps are resized.

    Masks hold 0 and 255, or 0 and 1, or 0 and 65535; they are resized bilinearly with antialias,
    then thresholded at one half, as in the published procedure. If they hold labels instead,
    everything above 0 is defective: in a palette with colours the indices count, in other lossless
    files the levels, if there are at most 5, or at most 16 that all lie below one half.

    Args:
        mask_paths: The mask files; what any of them marks is defective.
        image_path: The image they belong to, whose size they must have.
        image_size: `(H, W)` of the result; None for the mask's own.

    Returns:
        `(H, W)` bool, True where the image is defective.

    Raises:
        DatasetError: If a mask is missing, cannot be decoded, has another size or other levels.
    """
    levels = np.maximum.reduce([_read_levels(path, image_path) for path in mask_paths])
    size = image_size or (levels.shape[0], levels.shape[1])
    return resize_map(torch.from_numpy(levels)[None], size)[0] > 0.5


def _read_levels(mask_path: Path, image_path: Path) -> NDArray[np.float32]:
    """A mask as `(H, W)` in 0..1, after a check of its size and levels."""
    levels = _decode_levels(mask_path, image_path)
    if 0 < levels.max() <= 0.5:
        msg = (
            f"The mask {mask_path} marks nothing: its levels are neither 0 and 1 nor 0 and 255, "
            f"but all below half of that. Save it {_FORMAT}"
        )
        raise DatasetError(msg)
    return levels


def _decode_levels(mask_path: Path, image_path: Path) -> NDArray[np.float32]:
    image = read_header(image_path)
    try:
        with Image.open(mask_path) as opened:
            mask = header_of(opened)
            if mask.size == image.size:
                return scale_levels(opened)
    except DECODING_ERRORS as error:
        msg = (
            f"The mask {mask_path} of {image_path} cannot be read ({reason_of(error)}). "
            f"Save it again {_FORMAT}"
        )
        raise DatasetError(msg) from error
    advice = "Save the mask at the image's size, without borders."
    pairs = ((image_path, image), (mask_path, mask))
    turned = [path for path, header in pairs if header.orientation > 4]
    if turned and mask.size == image.size[::-1]:
        advice = (
            f"Viewers turn {turned[0]} by its EXIF orientation, which is ignored here: "
            "turn the pixels of all such files (mogrify -auto-orient)."
        )
    (mask_height, mask_width), (height, width) = mask.size, image.size
    msg = (
        f"The mask {mask_path} is {mask_width}x{mask_height} but its image {image_path} is "
        f"{width}x{height}. {advice}"
    )
    raise DatasetError(msg)


def scale_levels(mask: Image.Image) -> NDArray[np.float32]:
    """A mask's levels as `(H, W)` in 0..1; the highest level shows which one stands for 1."""
    if header_of(mask).is_deep:
        values = decode(mask)
        values = to_levels(values, None) if values.dtype.kind == "f" else values
    else:
        values = np.asarray(opaque(mask, background="black"))  # unmarked
    if values.ndim == 3:
        if mask.mode == "P" and np.ptp(values, axis=-1).any():
            return np.asarray(mask).astype(bool).astype(np.float32)
        values = values.max(axis=-1)
    highest = int(values.max())
    full = next(level for level in (1, 255, max(65535, highest)) if highest <= level)
    # Smooth edges alone give the smallest defect six levels or more, up to the highest.
    few = 5 if highest > full / 2 else 16
    if mask.format not in _LOSSY and len(np.unique(values)) <= few:
        values, full = values > 0, 1
    return (values / full).astype(np.float32)
