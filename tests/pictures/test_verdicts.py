import numpy as np
import pytest

from fre_lightning.pictures.verdicts import draw_verdict

SIDE, GAP = 360, 4


def draw(image_size=(64, 64), caption="good", region=None, pixel_threshold=1.0):
    pixels, anomaly_map = np.full((32, 32, 3), 100, np.uint8), np.zeros((32, 32), np.float32)
    anomaly_map[8:16, 8:16] = 5
    verdict = draw_verdict(pixels, anomaly_map, pixel_threshold, region, image_size, caption)
    assert verdict.mode == "RGB"
    return np.asarray(verdict).astype(int)


def test_image_and_heat_map_with_the_outline_of_what_stands_out():
    picture = draw()
    image, heat_map = picture[:SIDE, :SIDE], picture[:SIDE, SIDE + GAP :]
    assert (picture[:SIDE, SIDE : SIDE + GAP] == 255).all()
    for part in (image, heat_map):
        rows, columns = (np.flatnonzero((part.min(-1) == 255).any(axis)) for axis in (1, 0))
        for line in (rows, columns):  # of the square at a quarter to a half of the image
            assert (line[0], line[-1]) == pytest.approx((SIDE / 4, SIDE / 2), abs=8)
    assert (image[140, 140] == 100).all()
    assert heat_map[140, 140].sum() > heat_map[300, 300].sum() + 100


def test_it_has_the_shape_of_the_image():
    tall = draw(image_size=(400, 100))
    assert tall.shape[1] == 2 * SIDE // 4 + GAP
    assert tall.shape[0] > SIDE
    assert draw(image_size=(1, 1000)).shape[1] == 2 * SIDE + GAP


def test_a_caption_is_wrapped_where_the_image_is_narrow():
    words = "defective: score 12.3 > threshold 4.56, p = 0.001"
    narrow, wide = draw((400, 100), words), draw((100, 100), words)
    assert narrow.shape[0] > wide.shape[0]
    assert (wide[SIDE:] < 100).any()  # ink


def test_what_does_not_count_is_dark_and_without_a_threshold_there_is_no_line():
    region = np.zeros((32, 32), bool)
    region[:, 16:] = True
    picture = draw(region=region, pixel_threshold=None)
    assert (picture[300, 100] == 25).all()
    assert (picture[300, 300] == 100).all()
    assert not (picture[:SIDE, :SIDE] == 255).all(-1).any()
