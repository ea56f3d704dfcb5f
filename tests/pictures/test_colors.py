import numpy as np
import torch

from fre_lightning.pictures.colors import colorize, find_color_scale


def test_one_scale_from_the_median_to_nearly_the_top():
    maps = torch.arange(1000.0).view(10, 10, 10)
    scale = find_color_scale(maps)
    assert scale.low == np.median(np.arange(1000))
    assert 990 < scale.high < 999


def test_a_constant_map_has_a_scale():
    scale = find_color_scale(torch.full((2, 3, 3), 5.0))
    assert scale.high > scale.low
    assert len(np.unique(colorize(torch.full((3, 3), 5.0), scale).reshape(-1, 3), axis=0)) == 1
