from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.errors import DatasetError, UnreadableImageError
from fre_lightning.images.masks import read_mask

SIZE = (12, 20)


def write_pair(folder: Path, mask: Image.Image) -> tuple[Path, Path]:
    paths = folder / "a_mask.png", folder / "a.png"
    mask.save(paths[0])
    Image.new("RGB", (32, 32)).save(paths[1])
    return paths


def square(level: int, dtype: type = np.uint8) -> Image.Image:
    values = np.zeros((32, 32), dtype)
    values[8:16, 8:24] = level
    return Image.fromarray(values)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(square(255), id="0 and 255"),
        pytest.param(square(1), id="0 and 1"),
        pytest.param(square(65535, np.uint16), id="16 bits"),
        pytest.param(square(255).convert("1"), id="1 bit"),
        pytest.param(square(255).convert("RGB"), id="RGB"),
    ],
)
def test_mask(tmp_path, mask):
    found = read_mask(*write_pair(tmp_path, mask), (16, 16))
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[4:8, 4:12] = True
    assert found.dtype == torch.bool
    assert torch.equal(found, expected)


def test_empty_mask(tmp_path):
    assert not read_mask(*write_pair(tmp_path, square(0)), (16, 16)).any()


def test_mask_of_another_size(tmp_path):
    pair = write_pair(tmp_path, Image.new("L", (30, 31)))
    with pytest.raises(DatasetError) as error:
        read_mask(*pair, SIZE)
    message = str(error.value)
    assert all(str(path) in message for path in pair)
    assert "30x31" in message
    assert "32x32" in message


@pytest.mark.parametrize("content", [None, b"text"], ids=["missing", "no image"])
def test_unreadable_mask(tmp_path, content):
    mask, image = write_pair(tmp_path, square(255))
    mask.unlink()
    if content is not None:
        mask.write_bytes(content)
    with pytest.raises(DatasetError) as error:
        read_mask(mask, image, SIZE)
    assert not isinstance(error.value, UnreadableImageError)  # which skip_unreadable would skip
    assert str(mask) in str(error.value)
    assert "8-bit PNG" in str(error.value)
