import numpy as np
import torch

from fre_lightning.pictures.panels import ColorScale, colorize, draw_panel, find_color_scale


def test_one_scale_from_the_median_to_nearly_the_top():
    maps = torch.arange(1000.0).view(10, 10, 10)
    scale = find_color_scale(maps)
    assert scale.low == np.median(np.arange(1000))
    assert 990 < scale.high < 999


def test_a_constant_map_has_a_scale():
    scale = find_color_scale(torch.full((2, 3, 3), 5.0))
    assert scale.high > scale.low
    assert len(np.unique(colorize(torch.full((3, 3), 5.0), scale).reshape(-1, 3), axis=0)) == 1


def test_panel_shows_image_mask_and_hot_spot_side_by_side():
    image = torch.full((3, 16, 16), 100, dtype=torch.uint8)
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4, 6] = True
    errors = torch.zeros(16, 16)
    errors[4, 6] = 1.0
    panel = np.asarray(draw_panel(image, mask, errors, find_color_scale(errors[None])))
    assert panel.shape == (16, 3 * 16 + 2 * 4, 3)
    assert (panel[:, :16] == 100).all()
    assert (panel[4, 20 + 6] == 255).all()
    heat = panel[:, 40:].astype(int)
    assert heat[4, 6, 0] > heat[0, 0, 0]  # red is hot
    assert np.asarray(draw_panel(image, None, errors, ColorScale(0, 1))).shape == (16, 36, 3)
