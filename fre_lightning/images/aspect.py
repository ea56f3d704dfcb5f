"""The size at which a backbone sees oblong images: their own aspect ratio, at as many pixels."""

import math
from collections.abc import Sequence
from statistics import median

SQUARISH = 1.3
"""Up to this ratio of the longer to the shorter side, images are seen as a square."""


def common_ratio(sizes: Sequence[tuple[int, int]]) -> float:
    """Height over width of most images `(h, w)`: the median, of logarithms; 1 if there are none."""
    return math.exp(median(math.log(height / width) for height, width in sizes or [(1, 1)]))


def size_of_ratio(ratio: float, n_pixels: int, cell: int) -> tuple[int, int]:
    """The size `(H, W)` in whole cells with about a ratio H / W and a number of pixels.

    Args:
        ratio: Above 0.
        n_pixels: Above 0.
        cell: The side of a cell in pixels; no side is shorter.
    """
    height = math.sqrt(n_pixels * ratio)
    rows, columns = (max(1, round(side / cell)) for side in (height, n_pixels / height))
    return rows * cell, columns * cell
