import numpy as np
import torch

from fre_lightning.pictures.colors import ColorScale, find_color_scale
from fre_lightning.pictures.panels import draw_panel


def test_panel_shows_image_mask_and_hot_spot_side_by_side():
    image = torch.full((3, 16, 16), 100, dtype=torch.uint8)
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4, 6] = True
    errors = torch.zeros(16, 16)
    errors[4, 6] = 1.0
    panel = np.asarray(draw_panel(image, mask, errors, find_color_scale(None, errors[None])))
    assert panel.shape == (16, 3 * 16 + 2 * 4, 3)
    assert (panel[:, :16] == 100).all()
    assert (panel[4, 20 + 6] == 255).all()
    heat = panel[:, 40:].astype(int)
    assert heat[4, 6, 0] > heat[0, 0, 0]  # red is hot
    assert np.asarray(draw_panel(image, None, errors, ColorScale(0, 1))).shape == (16, 36, 3)


def test_what_does_not_count_is_dark():
    image, region = (
        torch.full((3, 8, 8), 100, dtype=torch.uint8),
        torch.zeros(8, 8, dtype=torch.bool),
    )
    region[:, 4:] = True
    panel = np.asarray(draw_panel(image, None, torch.zeros(8, 8), ColorScale(0, 1), region))
    assert (panel[:, :4] == 25).all()
    assert (panel[:, 4:8] == 100).all()
    assert (panel[:, 12:16] < panel[:, 16:]).any()
