import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from fre_lightning.errors import ConfigError, DatasetError, UnreadableImageError
from fre_lightning.images.reading import parse_image_size, read_image, read_mask

SIZE = (12, 20)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def lanczos(image: Image.Image) -> torch.Tensor:
    resized = image.convert("RGB").resize((SIZE[1], SIZE[0]), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1"])
def test_lanczos_is_pillows(tmp_path, mode):
    image = Image.fromarray(pixels(40, 33, 3)).convert(mode)
    tensor = read_image(save(image, tmp_path / "a.png"), SIZE)
    assert tensor.dtype == torch.uint8
    assert tensor.shape == (3, *SIZE)
    assert torch.equal(tensor, lanczos(image))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("shape", [(60, 200), (700, 1200), (12, 20), (9, 15)])
def test_torchs_lanczos_is_nearly_pillows(tmp_path, mode, shape):
    image = Image.fromarray(pixels(*shape, 3)).convert(mode)
    difference = read_image(save(image, tmp_path / "a.png"), SIZE).int() - lanczos(image).int()
    assert difference.abs().max() <= 2
    assert difference.count_nonzero() <= 0.03 * difference.numel()


def test_cmyk(tmp_path):
    path = save(Image.fromarray(pixels(40, 33, 3)).convert("CMYK"), tmp_path / "a.jpg")
    with Image.open(path) as image:
        assert image.mode == "CMYK"
        assert torch.equal(read_image(path, SIZE), lanczos(image))


def test_greyscale_is_repeated(tmp_path):
    red, green, blue = read_image(save(Image.fromarray(pixels(16, 16)), tmp_path / "a.png"), SIZE)
    assert torch.equal(red, green)
    assert torch.equal(green, blue)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("level", "expected"), [(0, 0), (255, 1), (32768, 128), (65535, 255)])
def test_16_bit_keeps_its_top_bits(tmp_path, suffix, level, expected):
    image = Image.fromarray(np.full((16, 16), level, np.uint16))
    tensor = read_image(save(image, tmp_path / f"a.{suffix}"), SIZE)
    assert tensor.unique().tolist() == [expected]


@pytest.mark.parametrize(("level", "expected"), [(0.5, 128), (1.0, 255), (200.0, 200)])
def test_floating_point(tmp_path, level, expected):
    image = Image.fromarray(np.full((16, 16), level, np.float32))
    assert read_image(save(image, tmp_path / "a.tif"), SIZE).unique().tolist() == [expected]


def unreadable(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as error:
        read_image(path, SIZE)
    message = str(error.value)
    assert str(path) in message
    assert "dataset.skip_unreadable=true" in message
    return message


def test_truncated(tmp_path):
    path = save(Image.fromarray(pixels(64, 64, 3)), tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:5000])
    assert "truncated" in unreadable(path)


def test_text_named_png(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("not an image")
    assert "cannot identify" in unreadable(path)


def test_empty_and_missing_file(tmp_path):
    (tmp_path / "empty.png").touch()
    unreadable(tmp_path / "empty.png")
    assert "No such file" in unreadable(tmp_path / "missing.png")


def test_absurdly_large(tmp_path, monkeypatch):
    path = save(Image.new("L", (64, 64)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 // 2 - 1)
    assert "exceeds limit" in unreadable(path)


def test_large_but_legal_without_warning(tmp_path):
    path = save(Image.new("L", (64, 64)), tmp_path / "a.png")
    code = (
        "import pathlib, sys; from PIL import Image;"
        "from fre_lightning.images.reading import read_image;"
        "Image.MAX_IMAGE_PIXELS = 64 * 64 - 1;"
        "print(tuple(read_image(pathlib.Path(sys.argv[1]), (8, 9)).shape))"
    )
    command = [sys.executable, "-W", "default::RuntimeWarning", "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3, 8, 9)"
    assert "DecompressionBomb" not in done.stderr


def write_pair(folder: Path, mask: Image.Image) -> tuple[Path, Path]:
    image = save(Image.new("RGB", (32, 32)), folder / "a.png")
    return save(mask, folder / "a_mask.png"), image


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


@pytest.mark.parametrize(
    "image_size", [(12, 20), [12, 20], OmegaConf.create([12, 20])], ids=["tuple", "list", "config"]
)
def test_image_size_of_two(image_size):
    assert parse_image_size(image_size) == (12, 20)


def test_image_size_of_one():
    assert parse_image_size(7) == (7, 7)


@pytest.mark.parametrize("image_size", [0, -3, [8], [8, 8, 8], [8, 0], [8.0, 8], None, "8", True])
def test_bad_image_size(image_size):
    with pytest.raises(ConfigError, match=r"image_size must be .* got "):
        parse_image_size(image_size)
