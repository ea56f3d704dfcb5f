import pytest
import torch

from fre_lightning.metrics.regions import image_weights, region_weights


def masks():
    first = torch.zeros(4, 4, dtype=torch.bool)
    first[0, 0] = first[1, 1] = True  # touch at a corner: one region
    first[3, :3] = True
    second = torch.zeros(4, 4, dtype=torch.bool)
    second[0, 0] = True  # not connected to the first image's
    return torch.stack([first, torch.zeros_like(first), second])


def relative(weights):
    return (weights.double() / 2**40).tolist()


def test_regions_share_evenly():
    expected = [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 1]
    assert relative(region_weights(masks())) == pytest.approx(expected, abs=1e-9)


def test_images_share_evenly():
    expected = [1 / 5] * 5 + [1]
    assert relative(image_weights(masks())) == pytest.approx(expected, abs=1e-9)


def test_no_defects():
    nothing = torch.zeros(2, 3, 3, dtype=torch.bool)
    assert region_weights(nothing).shape == image_weights(nothing).shape == (0,)
