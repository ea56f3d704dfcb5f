"""Image and mask files to tensors: decode, resize, and nothing that a backbone should know."""

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fre_lightning.errors import ConfigError, DatasetError, UnreadableImageError
from fre_lightning.images.png import decode_png


def _torch_has_lanczos() -> bool:
    """Whether this torch can resize with Lanczos."""
    try:
        _resize_in_torch(np.zeros((4, 4), np.uint8), (2, 2))
    except NotImplementedError:
        return False
    return True


def _resize_in_torch(levels: NDArray[np.uint8], image_size: tuple[int, int]) -> Tensor:
    """Resize `(h, w)` or `(h, w, C)` levels with Lanczos to `(C, H, W)`, five times as fast."""
    channels = torch.from_numpy(levels.reshape(*levels.shape[:2], -1)).permute(2, 0, 1)
    return F.interpolate(channels[None], size=image_size, mode="lanczos", antialias=True)[0]


_USES_TORCH = _torch_has_lanczos()
PREPROCESSING = f"{'torch' if _USES_TORCH else 'pillow'}-lanczos-rgb8-v2"
"""Names what `read_image` does; a part of every cache key, to be changed with it."""

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are missing, damaged, no images or absurdly large."""

# Line-scan cameras do take images of 90 million pixels; twice as many are still an error. This is
# set once because changing the filters around each image is not safe in threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def parse_image_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """The `(height, width)` that `image_size` stands for: one number is a square.

    Raises:
        ConfigError: If it is neither one nor two positive integers.
    """
    sides = tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        msg = f"image_size must be one number or [height, width], both positive; got {image_size}."
        raise ConfigError(msg)
    return sides[0], sides[1]


def to_8_bit(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit grey (`L`) if it is grey, else as RGB. Alpha is dropped.

    16-bit greyscale keeps its top 8 bits.

    Pillow's own conversion clips 16-bit values at 255. 32-bit integers are taken for 16-bit data,
    which is how Pillow reads some 16-bit files; floating point images are taken to lie in 0..1
    if none of their values exceeds 1, else in 0..255.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64) / 257.0
    elif image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        values = values * 255.0 if values.max(initial=0.0) <= 1.0 else values
    else:
        mode = "L" if image.mode in {"L", "1", "LA"} else "RGB"
        return image if image.mode == mode else image.convert(mode)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def read_image(path: Path, image_size: tuple[int, int]) -> Tensor:
    """Decode an image file and resize it with Lanczos.

    An orientation in its EXIF data is ignored, as masks have none; of several pages the first
    is read.

    Args:
        path: A file that Pillow can read; any mode, any size up to some 179 million pixels.
        image_size: `(H, W)` of the result.

    Returns:
        `(3, H, W)` uint8, RGB; greyscale is repeated.

    Raises:
        UnreadableImageError: If the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as opened:
            levels = decode_png(opened, path)
            if levels is None:
                levels = np.array(to_8_bit(opened))
        # Grey is repeated after the resize, which then has a third of the work.
        resized = resize(levels, image_size)
    except DECODING_ERRORS as error:
        msg = (
            f"{path} cannot be read as an image ({error}). Repair or remove the file, "
            "or leave such files out with dataset.skip_unreadable=true."
        )
        raise UnreadableImageError(msg) from error
    return resized.expand(3, -1, -1)


def resize(levels: NDArray[np.uint8], image_size: tuple[int, int]) -> Tensor:
    """Resize with Lanczos as Pillow does.

    Torch's own (from 2.14 on) is several times as fast, and gives the same levels but for at most
    2 of 255 in one pixel of fifty. Both filter rows, round, then columns; Pillow reverses that
    for images which shrink more in height than in width, so those are left to it.

    Args:
        levels: `(h, w)` or `(h, w, 3)`; writable, for torch.
        image_size: `(H, W)`.

    Returns:
        `(C, H, W)` uint8, C = 1 or 3.
    """
    height, width = image_size
    if _USES_TORCH and levels.shape[1] * height >= levels.shape[0] * width:
        return _resize_in_torch(levels, image_size)
    resized = Image.fromarray(levels).resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(resized).reshape(height, width, -1)).permute(2, 0, 1)


def read_mask(
    mask_path: Path, image_path: Path, image_size: tuple[int, int] | None = None
) -> Tensor:
    """Decode the mask of a defective image and resize it as anomaly maps are resized.

    Masks hold 0 and 255, or 0 and 1, or 0 and 65535; they are resized bilinearly with antialias,
    then thresholded at one half, as in the published procedure.

    Args:
        mask_path: The mask file.
        image_path: The image it belongs to, whose size it must have.
        image_size: `(H, W)` of the result; None for the mask's own.

    Returns:
        `(H, W)` bool, True where the image is defective.

    Raises:
        DatasetError: If the mask is missing, cannot be decoded, has another size or other levels.
    """
    try:
        with Image.open(mask_path) as mask, Image.open(image_path) as image:
            if mask.size != image.size:
                msg = (
                    f"The mask {mask_path} is {mask.width}x{mask.height} but its image "
                    f"{image_path} is {image.width}x{image.height}. Save the mask at the image's "
                    "size, without borders."
                )
                raise DatasetError(msg)
            levels = _mask_levels(mask)
    except DECODING_ERRORS as error:
        msg = (
            f"The mask {mask_path} of {image_path} cannot be read ({error}). "
            "Save it again as an 8-bit PNG: 0 for good pixels, 255 for defective ones."
        )
        raise DatasetError(msg) from error
    if 0 < levels.max() <= 0.5:
        msg = (
            f"The mask {mask_path} marks nothing: its levels are neither 0 and 1 nor 0 and 255, "
            "but all below half of that. Save it as an 8-bit PNG: 0 for good pixels, 255 for "
            "defective ones."
        )
        raise DatasetError(msg)
    if image_size is None:
        return torch.from_numpy(levels > 0.5)
    resized = F.interpolate(
        torch.from_numpy(levels)[None, None],
        size=image_size,
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    return resized[0, 0] > 0.5


def _mask_levels(mask: Image.Image) -> NDArray[np.float32]:
    """A mask as `(H, W)` in 0..1; what counts as 1 is told by the highest level."""
    integer = mask.mode.startswith("I")
    values = np.asarray(mask if integer else to_8_bit(mask))
    if values.ndim == 3:
        values = values.max(axis=-1)
    highest = int(values.max())
    full = next(level for level in (1, 255, max(65535, highest)) if highest <= level)
    return (values / full).astype(np.float32)
