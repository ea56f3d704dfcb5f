from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.errors import DatasetError, UnreadableImageError
from fre_lightning.images.masks import read_mask

SIZE = (12, 20)


def write_pair(folder: Path, mask: Image.Image) -> tuple[list[Path], Path]:
    mask_path, image_path = folder / "a_mask.png", folder / "a.png"
    mask.save(mask_path)
    Image.new("RGB", (32, 32)).save(image_path)
    return [mask_path], image_path


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


def test_what_any_mask_marks_is_a_defect(tmp_path):
    masks, image = write_pair(tmp_path, strips(0, 255, 0, 0))
    strips(0, 0, 7, 0).save(tmp_path / "b.png")
    found = read_mask([*masks, tmp_path / "b.png"], image)
    assert torch.equal(found, ((torch.arange(32) // 8) % 3 > 0).expand(32, 32))


def test_empty_mask(tmp_path):
    assert not read_mask(*write_pair(tmp_path, square(0)), (16, 16)).any()


def strips(*levels: int) -> Image.Image:
    return Image.fromarray(np.repeat(np.uint8(levels), 32 // len(levels))[None].repeat(32, 0))


def palette(mask: Image.Image, *colors: tuple[int, int, int]) -> Image.Image:
    mask = mask.convert("P")
    mask.putpalette([level for color in colors for level in color])
    return mask


VOC = [(0, 0, 0), (128, 0, 0)] + [(0, 0, 0)] * 6 + [(64, 0, 0)]


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(strips(0, 100, 255, 20), id="levels"),
        pytest.param(strips(0, 1, 2, 3), id="classes"),
        pytest.param(palette(strips(0, 1, 8, 1), *VOC), id="palette"),
        pytest.param(
            palette(strips(0, 1, 2, 1), (255, 255, 255), (0, 0, 0), (9, 0, 0)), id="white"
        ),
        pytest.param(strips(0, 100, 255, 20).convert("RGB"), id="RGB"),
    ],
)
def test_every_label_above_0_is_a_defect(tmp_path, mask):
    found = read_mask(*write_pair(tmp_path, mask))
    assert torch.equal(found, (torch.arange(32) >= 8).expand(32, 32))


def test_what_is_transparent_is_good(tmp_path):
    mask = Image.new("RGB", (32, 32), (200, 0, 0))
    mask.putalpha(strips(0, 128, 255, 255))
    found = read_mask(*write_pair(tmp_path, mask))
    assert torch.equal(found[0], torch.arange(32) >= 8)


def test_the_colours_of_a_grey_palette_count(tmp_path):
    mask = palette(strips(0, 1, 1, 1), (255, 255, 255), (0, 0, 0))
    assert torch.equal(read_mask(*write_pair(tmp_path, mask))[0], torch.arange(32) < 8)


def test_smooth_and_lossy_edges_are_halved(tmp_path):
    smooth = strips(0, 0, 0, 50, 100, 150, 200, 255)
    assert torch.equal(read_mask(*write_pair(tmp_path, smooth))[0], torch.arange(32) >= 20)
    strips(0, 100, 255, 255).save(tmp_path / "a.jpg", quality=100)
    found = read_mask([tmp_path / "a.jpg"], tmp_path / "a.png")
    assert torch.equal(found[0], torch.arange(32) >= 16)


def test_mask_of_another_size(tmp_path):
    masks, image = write_pair(tmp_path, Image.new("L", (30, 31)))
    with pytest.raises(DatasetError) as error:
        read_mask(masks, image, SIZE)
    message = str(error.value)
    assert all(str(path) in message for path in (*masks, image))
    assert "30x31" in message
    assert "32x32" in message


@pytest.mark.parametrize("turned", ["image", "mask"])
def test_a_size_that_exif_data_explain(tmp_path, turned):
    exif = Image.Exif()
    exif[274] = 6
    paths = {name: tmp_path / f"{name}.png" for name in ("image", "mask")}
    for name, path in paths.items():
        size = (30, 60) if name == turned else (60, 30)
        Image.new("L", size).save(path, exif=exif if name == turned else None)
    with pytest.raises(DatasetError, match=rf"{turned}\.png by its EXIF orientation.*ignored"):
        read_mask([paths["mask"]], paths["image"], SIZE)


@pytest.mark.parametrize("content", [None, b"text"], ids=["missing", "no image"])
def test_unreadable_mask(tmp_path, content):
    (mask,), image = write_pair(tmp_path, square(255))
    mask.unlink()
    if content is not None:
        mask.write_bytes(content)
    with pytest.raises(DatasetError) as error:
        read_mask([mask], image, SIZE)
    assert not isinstance(error.value, UnreadableImageError)  # which skip_unreadable would skip
    assert str(mask) in str(error.value)
    assert "8-bit PNG" in str(error.value)
