"""Files for the tests of datasets."""

from pathlib import Path

import numpy as np
from PIL import Image


def save_images(folder: Path, *names: str, size: tuple[int, int] = (16, 16)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def save_masks(
    folder: Path, *names: str, size: tuple[int, int] = (16, 16), level: int = 255
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size, np.uint8)
    pixels[4:10, 4:10] = level
    for name in names:
        Image.fromarray(pixels).save(folder / name)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
