import numpy as np
import torch

from fre_lightning.pictures.colors import colorize, find_color_scale


def test_one_scale_from_the_median_to_nearly_the_top():
    maps = torch.arange(1000.0).view(10, 10, 10)
    scale = find_color_scale(None, maps)
    assert scale.low == np.median(np.arange(1000))
    assert 990 < scale.high < 999


def test_a_constant_map_has_a_scale():
    scale = find_color_scale(None, torch.full((2, 3, 3), 5.0))
    assert scale.high > scale.low
    assert len(np.unique(colorize(torch.full((3, 3), 5.0), scale).reshape(-1, 3), axis=0)) == 1


def test_normal_images_are_dark_whatever_they_are_shown_with():
    threshold, generator = 3.0, torch.Generator().manual_seed(0)
    normal = threshold * torch.rand(4, 8, 8, generator=generator)  # nothing exceeds the threshold
    alone = find_color_scale(threshold, normal)
    beside_a_defect = find_color_scale(threshold, torch.cat([normal, normal + 50]))
    assert alone == beside_a_defect
    assert alone.level(normal).max() < 0.34
    assert alone.level(normal).median() == 0
    assert alone.level(torch.tensor(2 * threshold)) == 1
