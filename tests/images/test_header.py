"""Headers of image files, against what was saved."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.header import read_header


@pytest.mark.parametrize(
    ("array", "suffix", "mode", "bits"),
    [
        (np.zeros((4, 6), np.uint8), "png", "L", 8),
        (np.zeros((4, 6, 3), np.uint8), "jpg", "RGB", 8),
        (np.zeros((4, 6, 4), np.uint8), "png", "RGBA", 8),
        (np.zeros((4, 6), bool), "png", "1", 1),
        (np.zeros((4, 6), np.uint16), "png", "I;16", 16),
        (np.zeros((4, 6), np.uint16), "tif", "I;16", 16),
        (np.zeros((4, 6), np.float32), "tif", "F", 32),
    ],
)
def test_header_says_what_was_saved(
    tmp_path: Path, array: np.ndarray, suffix: str, mode: str, bits: int
) -> None:
    path = tmp_path / f"part.{suffix}"
    Image.fromarray(array).save(path)
    header = read_header(path)
    assert header[:3] == ((4, 6), mode, bits)
    assert header.is_deep == (bits > 8)


def test_deep_colour_is_told_from_8_bit(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(np.zeros((4, 6, 3), np.uint16)))
    assert read_header(path)[1:3] == ("RGB", 16)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    path.write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"part\.png"):
        read_header(path)
