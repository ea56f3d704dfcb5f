"""What is done to images: by codecs, cameras and fixtures, and what spoils them."""

from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fre_lightning.images.reading import Levels

Perturbation = Callable[[Levels, np.random.Generator], Levels]
"""From levels `(H, W)` or `(H, W, 3)` to levels of the same shape; a generator for what is random.
"""


def _encode(levels: Levels, _: np.random.Generator, kind: str, **options: object) -> Levels:
    stream = BytesIO()
    Image.fromarray(levels).save(stream, kind, **options)
    return np.array(Image.open(stream).convert("L" if levels.ndim == 2 else "RGB"))


def _gain(levels: Levels, _: np.random.Generator, factor: float, offset: float) -> Levels:
    return _to_levels(factor * levels.astype(np.float32) + offset)


def _noise(levels: Levels, rng: np.random.Generator, deviation: float) -> Levels:
    """White noise, which leaves grey images grey."""
    is_grey = levels.ndim == 2 or bool((levels == levels[..., :1]).all())
    noise = rng.normal(0, deviation, levels.shape[:2] if is_grey else levels.shape)
    return _to_levels(levels + (noise[..., None] if is_grey and levels.ndim == 3 else noise))


def _blur(levels: Levels, _: np.random.Generator, radius: float) -> Levels:
    return np.array(Image.fromarray(levels).filter(ImageFilter.GaussianBlur(radius)))


def _shift(levels: Levels, rng: np.random.Generator, pixels: int) -> Levels:
    """By so many pixels in one of eight directions; what comes in at the border is mirrored."""
    directions = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    dy, dx = directions[rng.integers(len(directions))]
    padded = _pad(levels, pixels)
    top, left = pixels * (1 + dy), pixels * (1 + dx)
    return padded[top : top + levels.shape[0], left : left + levels.shape[1]]


def _turn(levels: Levels, rng: np.random.Generator, degrees: float) -> Levels:
    """About the middle, either way; what comes in at the border is mirrored."""
    edge = max(4, round(max(levels.shape[:2]) * np.sin(np.deg2rad(degrees))))
    edge = min(edge, min(levels.shape[:2]) - 1)
    turned = Image.fromarray(_pad(levels, edge)).rotate(
        degrees * rng.choice((-1, 1)), Image.Resampling.BICUBIC
    )
    levels = np.array(turned, dtype=np.uint8)
    return levels[edge:-edge, edge:-edge]


def _pad(levels: Levels, edge: int) -> Levels:
    widths = [(edge, edge)] * 2 + [(0, 0)] * (levels.ndim - 2)
    padded: Levels = np.pad(levels, widths, "reflect")
    return padded


def _to_levels(values: NDArray[np.floating]) -> Levels:
    clipped: Levels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return clipped


_JPEG = partial(_encode, kind="JPEG", subsampling="4:2:0")

PERTURBATIONS: dict[str, Perturbation] = {
    "jpeg 75": partial(_JPEG, quality=75),
    "jpeg 85": partial(_JPEG, quality=85),
    "jpeg 95": partial(_JPEG, quality=95),
    "jpeg 85, 4:4:4": partial(_encode, kind="JPEG", quality=85, subsampling="4:4:4"),
    "webp 85": partial(_encode, kind="WEBP", quality=85),
    "brightness +5": partial(_gain, factor=1.0, offset=5.0),
    "gain +3 %": partial(_gain, factor=1.03, offset=0.0),
    "noise 1": partial(_noise, deviation=1.0),
    "noise 2": partial(_noise, deviation=2.0),
    "blur 0.7": partial(_blur, radius=0.7),
    "shift 1": partial(_shift, pixels=1),
    "shift 2": partial(_shift, pixels=2),
    "shift 4": partial(_shift, pixels=4),
    "turn 2": partial(_turn, degrees=2.0),
}
"""What no detector should mind: JPEG with chroma at half the resolution unless said, levels of 255,
pixels, degrees."""

CORRUPTIONS: dict[str, Perturbation] = {
    "noise 20": partial(_noise, deviation=20.0),
    "noise 60": partial(_noise, deviation=60.0),
    "blur 1": partial(_blur, radius=1.0),
    "blur 3": partial(_blur, radius=3.0),
    "contrast 0.3": partial(_gain, factor=0.3, offset=0.7 * 127.5),
    "inverted": partial(_gain, factor=-1.0, offset=255.0),
}
"""What spoils images: levels of 255, pixels, the factor of contrast about the middle grey."""
