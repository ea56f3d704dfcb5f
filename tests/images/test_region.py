import numpy as np
import pytest
import torch
from PIL import Image

from fre_lightning.errors import DatasetError
from fre_lightning.images.region import cell_weights, read_region
from fre_lightning.images.tiling import Tiling


@pytest.fixture
def read(tmp_path):
    """Read a region of a part photographed at 40x60."""
    Image.new("L", (60, 40)).save(tmp_path / "part.png")

    def save_and_read(levels, size=(20, 30)):
        Image.fromarray(levels).save(tmp_path / "region.png")
        return read_region(tmp_path / "region.png", tmp_path / "part.png", size)

    return save_and_read


@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize("scale", [1, 2])
def test_white_counts_at_the_size_of_the_image_or_the_model(read, white, scale):
    levels = np.zeros((20 * scale, 30 * scale), np.uint8)
    levels[4 * scale : 10 * scale, 6 * scale :] = white
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[4:10, 6:] = True
    assert torch.equal(read(levels), expected)


def test_another_size_is_told_with_both_that_fit(read):
    with pytest.raises(DatasetError, match=r"region\.png is 30x40, but .*60x40.*at 30x20"):
        read(np.full((40, 30), 255, np.uint8))


def test_an_empty_region_is_refused(read):
    levels = np.zeros((40, 60), np.uint8)
    with pytest.raises(DatasetError, match=r"region\.png is empty at 30x20"):
        read(levels)
    levels[0, 0] = 255  # less than half of a pixel of the model
    with pytest.raises(DatasetError, match="is empty"):
        read(levels)


def test_what_is_no_picture_is_told(read, tmp_path):
    read(np.full((20, 30), 255, np.uint8))
    (tmp_path / "region.png").write_text("white")
    with pytest.raises(DatasetError, match=r"region\.png cannot be read .*255 for pixels that"):
        read_region(tmp_path / "region.png", tmp_path / "part.png", (20, 30))


def test_weights_are_the_shares_of_cells():
    region = torch.zeros(1, 8, 12, dtype=torch.bool)
    region[:, 2:7, 5:] = True
    whole = cell_weights(region, Tiling([1, 1], 0.0, shared=False, blocks=[1, 1]), (8, 12), (2, 3))
    expected = torch.tensor([[0, 0.375, 0.5], [0, 0.5625, 0.75]])
    torch.testing.assert_close(whole, expected[None, None])
    tiles = cell_weights(region, Tiling([1, 3], 0.0, shared=False, blocks=[1, 1]), (8, 4), (2, 1))
    torch.testing.assert_close(tiles, expected.T[None, ..., None])
