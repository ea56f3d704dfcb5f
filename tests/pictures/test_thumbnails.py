from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.datasets import Sample
from fre_lightning.pictures.colors import ColorScale
from fre_lightning.pictures.thumbnails import SIDE, draw_from_dataset, draw_thumbnail


def decode(content):
    return np.asarray(Image.open(BytesIO(content)).convert("RGBA")).astype(int)


@pytest.fixture
def sample(tmp_path):
    """A grey image of 300x200 whose mask is a rectangle."""
    Image.new("L", (300, 200), 100).save(tmp_path / "image.png")
    mask = np.zeros((200, 300), np.uint8)
    mask[60:140, 90:210] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return Sample(tmp_path / "image.png", "dent", (tmp_path / "mask.png",))


def test_image_with_outline_and_heat_map_side_by_side(sample):
    hot = torch.zeros(8, 8)
    hot[:, 0] = 1  # the left of the image
    picture = decode(draw_thumbnail(sample, hot, ColorScale(0, 1)))
    height = round(SIDE * 200 / 300)
    assert picture.shape == (height, 2 * SIDE + 4, 4)
    assert (picture[:, SIDE + 1 : SIDE + 3, 3] == 0).all()  # a transparent gap
    image, heat = picture[:, :SIDE, :3], picture[:, SIDE + 4 :, :3]
    white = image.mean(-1) > 200
    rows, columns = (np.flatnonzero(white.any(axis)) for axis in (1, 0))
    scale = SIDE / 300  # the line runs around the mask
    assert (rows[0], rows[-1]) == pytest.approx((60 * scale, 140 * scale), abs=2.5)
    assert (columns[0], columns[-1]) == pytest.approx((90 * scale, 210 * scale), abs=2.5)
    assert image[height // 2, SIDE // 2] == pytest.approx(100, abs=6)  # and leaves its inside
    assert heat[10, 2].sum() > heat[10, -10].sum() + 200  # hot is light
    assert heat[10, 2, 0] > heat[10, 2, 2]  # and yellow


def test_a_tiny_defect_keeps_its_outline(tmp_path):
    Image.new("L", (600, 600), 100).save(tmp_path / "image.png")
    mask = np.zeros((600, 600), np.uint8)
    mask[300:303, 300:303] = 255  # less than a pixel of the picture
    Image.fromarray(mask).save(tmp_path / "mask.png")
    sample = Sample(tmp_path / "image.png", "dot", (tmp_path / "mask.png",))
    assert (decode(draw_thumbnail(sample))[..., 0] > 200).any()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "1"])
@pytest.mark.parametrize("size", [(7, 5), (1000, 3), (3, 1000)])
def test_images_of_any_mode_and_size(tmp_path, mode, size):
    image = Image.new("I;16", size, 30000) if mode == "I;16" else Image.new(mode, size)
    image.save(tmp_path / "image.png")
    picture = decode(
        draw_thumbnail(Sample(tmp_path / "image.png"), torch.rand(4, 4), ColorScale(0, 1))
    )
    assert max(picture.shape[0], (picture.shape[1] - 4) // 2) == SIDE


def test_jpeg_keeps_its_shape(tmp_path):
    Image.new("RGB", (901, 333), (200, 30, 30)).save(tmp_path / "image.jpg")
    picture = decode(draw_thumbnail(Sample(tmp_path / "image.jpg")))
    assert picture.shape[:2] == (round(SIDE * 333 / 901), SIDE)
    assert picture[5, 5, 0] > 150 > picture[5, 5, 1]


def test_an_image_that_is_gone_has_no_picture(sample, caplog):
    sample.mask_paths[0].unlink()
    assert draw_thumbnail(sample) is None
    assert "image.png is missing from the report" in caplog.text
    sample.path.write_text("no image")
    assert draw_thumbnail(Sample(sample.path)) is None


def test_pictures_from_the_dataset(mvtec, make_config):
    config = {"dataset": dict(make_config().dataset)}
    paths = {3: "part/test/dent/001.png", 4: "part/test/dent/no such.png"}
    assert list(draw_from_dataset(config, paths)) == [3]
    mvtec.rename(mvtec.with_name("moved"))
    assert draw_from_dataset(config, paths) == {}
    assert draw_from_dataset({}, paths) == {}
