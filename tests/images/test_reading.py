import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.errors import UnreadableImageError
from fre_lightning.images.notices import start_run
from fre_lightning.images.prepare import prepare_image
from fre_lightning.images.reading import read_image, to_8_bit

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


def test_hidden_colours_are_not_learnt(tmp_path):
    alpha = np.zeros((40, 33), np.uint8)
    alpha[:20] = 255
    opaque = Image.fromarray(pixels(40, 33, 3))
    for mode in ("L", "RGB"):
        image = opaque.convert(mode)
        expected = np.array(image)
        expected[20:] = 255
        image.putalpha(Image.fromarray(alpha))
        found = read_image(save(image, tmp_path / f"{mode}.png"), SIZE)
        assert torch.equal(found, lanczos(Image.fromarray(expected)))
        assert np.array_equal(to_8_bit(image), expected)


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_a_transparent_level_is_white(tmp_path, mode):
    path = tmp_path / "a.png"
    Image.new(mode, (40, 33)).save(path, transparency=0)
    assert read_image(path, SIZE).unique().tolist() == [255]


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


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_levels_that_a_16_bit_file_loses_are_told_of(tmp_path, caplog, suffix):
    start_run()
    for highest in (65535, 16384, 4095, 1023):
        image = Image.fromarray(np.linspace(0, highest, 400).astype(np.uint16).reshape(20, 20))
        read_image(save(image, tmp_path / f"{highest}.{suffix}"), SIZE)
    (warning,) = caplog.messages
    assert f"4095.{suffix} has 16 bits, but its highest level is 4095 of 65535" in warning
    assert "keeps some 16 of 256" in warning


def test_levels_that_a_16_bit_array_loses_are_told_of(caplog):
    start_run()
    prepare_image(np.full((9, 9), 4000, np.uint16), SIZE)
    assert "highest level is 4000" in caplog.text


def test_levels_that_a_colour_file_loses_are_told_of(tmp_path, caplog):
    start_run()
    for name, level in (("a", 60000), ("b", 4000)):
        deep = np.full((9, 9, 3), level, np.uint16)
        (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(deep))
        read_image(tmp_path / f"{name}.png", SIZE)
    (warning,) = caplog.messages
    assert f"{tmp_path / 'b.png'} has 16 bits, but its highest level is 4000 of 65535" in warning


def test_floating_point_above_1_is_told_of(tmp_path, caplog):
    start_run()
    for high in (1, 2, 4095):
        image = Image.fromarray(np.linspace(0, high, 400, dtype=np.float32).reshape(20, 20))
        read_image(save(image, tmp_path / f"{high}.tif"), SIZE)
    (warning,) = caplog.messages
    assert "2.tif holds floating point values of 0 to 2. The detector knows 8 bits" in warning


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
    assert "exceeds limit" in (message := unreadable(path))
    assert "FRE_MAX_PIXELS" in message
    with pytest.raises(UnreadableImageError, match="FRE_MAX_PIXELS"):
        prepare_image(path, SIZE)


@pytest.mark.parametrize(("limit", "readable"), [("196000000", True), ("195999998", False)])
def test_the_limit_can_be_raised(limit, readable):
    code = (
        "from PIL import Image; import fre_lightning.images.reading;"
        "Image._decompression_bomb_check((14000, 14000))"
    )
    command, environment = [sys.executable, "-c", code], os.environ | {"FRE_MAX_PIXELS": limit}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode == 0) == readable


def test_further_pages_are_told_of_once(tmp_path, caplog):
    pages = [Image.new("L", (9, 9), level) for level in (10, 20, 30)]
    for name in ("a.tif", "b.tif", "c.gif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    start_run()
    for name in ("a.tif", "b.tif", "c.gif"):
        assert read_image(tmp_path / name, SIZE).unique().tolist() == [10]
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path / 'a.tif'} has more than one page")


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
