"""The range of levels of deep images: which are black and which white, for 8 bits to hold."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fre_lightning.images.notices import check_16_bit, check_range, count_outside

_MOST_OUTSIDE = 0.01
"""Share of an image's levels that may lie outside of the range without a word."""


class Intensity(NamedTuple):
    """The range of levels that a detector was trained on.

    Attributes:
        low: The level that becomes 0, in the files' own units.
        high: The level that becomes 255.
        deep_only: Whether images of 8 bits stay as they are: the range was recognised from deeper
            ones, not given.
    """

    low: float
    high: float
    deep_only: bool

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> "Intensity | None":
        """The range that `_asdict` gave, or None."""
        if content is None:
            return None
        return cls(float(content["low"]), float(content["high"]), bool(content["deep_only"]))


def to_levels(
    values: NDArray[Any], intensity: Intensity | None, name: str = "An array"
) -> NDArray[np.uint8]:
    """Bring an image's values to 8 bits.

    Args:
        values: Of any shape; 8 bits, or integers or floating point numbers in the file's units.
        intensity: Their range: each value becomes the nearest level between its ends, and values
            outside become an end. None: a detector of 8-bit images, for which integers count as 16
            bits, and floating point values as 0..1 if none exceeds 1, else as 0..255.
        name: The image's, for warnings.

    Returns:
        The levels, in the shape of `values`.
    """
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8 and (intensity is None or intensity.deep_only):
        return values
    if intensity is not None:
        low, high, _ = intensity
        if float(((values < low) | (values > high)).mean()) > _MOST_OUTSIDE:
            count_outside(name, float(values.min()), float(values.max()), low, high)
        # In float32, as in exported files.
        scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    elif np.issubdtype(values.dtype, np.integer):
        check_16_bit(int(values.max(initial=0)), name)
        scaled = values / 257.0
    else:
        lowest, highest = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        check_range(lowest, highest, name)
        scaled = values * 255.0 if highest <= 1.0 else values.astype(np.float64)
    levels: NDArray[np.uint8] = np.clip(np.rint(np.nan_to_num(scaled)), 0, 255).astype(np.uint8)
    return levels


def in_units(values: NDArray[Any], intensity: Intensity) -> NDArray[np.float32]:
    """Values in the units of a range, float32: what exported files take.

    Those of 8 bits are stretched over a range that does not hold for images of 8 bits.
    """
    floats = values.astype(np.float32)
    if values.dtype == np.uint8 and intensity.deep_only:
        floats = intensity.low + floats * np.float32((intensity.high - intensity.low) / 255)
    return floats
