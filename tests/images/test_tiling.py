import pytest
import torch

from fre_lightning.errors import ConfigError
from fre_lightning.images.tiling import Tiling

TILE = (4, 6)


def test_tiles_laid_out_are_the_image():
    tiling = Tiling([2, 3], 0.0, shared=False, blocks=[1, 1])
    height, width = tiling.image_size(TILE)
    assert (height, width) == (8, 18)
    images = torch.arange(2.0 * 3 * height * width).view(2, 3, height, width)
    tiles = tiling.cut(images, TILE)
    assert tiles.shape == (12, 3, *TILE)
    for channel in range(3):
        maps = tiles[:, channel].view(2, 6, *TILE)
        assert torch.equal(tiling.lay_out(maps), images[:, channel])


def test_overlapping_tiles_by_hand():
    tiling = Tiling([1, 2], 0.5, shared=True, blocks=[1, 1])
    assert tiling.image_size(TILE) == (4, 9)
    image = torch.arange(9.0).expand(1, 1, 4, 9)
    left, right = tiling.cut(image, TILE)
    assert left[0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert right[0, 0].tolist() == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_blending_gives_back_what_tiles_agree_on(overlap):
    tiling = Tiling([2, 3], overlap, shared=False, blocks=[1, 1])
    image = torch.rand(1, 1, *tiling.image_size(TILE), generator=torch.Generator().manual_seed(0))
    maps = tiling.lay_out(tiling.cut(image, TILE).view(1, 6, *TILE))
    torch.testing.assert_close(tiling.blend(maps, TILE), image[0])


def test_seams_are_ramps_where_tiles_disagree():
    tiling = Tiling([1, 2], 0.5, shared=False, blocks=[1, 1])
    maps = tiling.lay_out(torch.stack([torch.zeros(TILE), torch.ones(TILE)])[None])
    row = tiling.blend(maps, TILE)[0, 0]
    assert row[:3].tolist() == [0, 0, 0]
    assert row[-3:].tolist() == [1, 1, 1]
    assert (row.diff() >= 0).all()
    assert 0 < row[3] < row[4] < row[5] < 1


def test_blocks_by_hand():
    tiling = Tiling([1, 1], 0.0, shared=False, blocks=[2, 2])
    found = tiling.cells_of_blocks((3, 5)).int()
    a, b, c, d = found.view(4, 3, 5).tolist()
    assert a == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert b == [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert (c[2], d[2]) == ([1, 1, 1, 0, 0], [0, 0, 0, 1, 1])
    assert found.sum(dim=0).tolist() == [1] * 15
    assert tiling.cells_of_blocks((1, 1)).flatten().tolist() == [True, False, False, False]


@pytest.mark.parametrize(("shared", "n_groups", "n_subspaces"), [(False, 6, 12), (True, 1, 2)])
def test_each_group_of_tiles_has_a_subspace_for_each_block(shared, n_groups, n_subspaces):
    tiling = Tiling([2, 3], 0.0, shared, [1, 2])
    assert (tiling.n_groups, tiling.n_blocks, tiling.n_subspaces) == (n_groups, 2, n_subspaces)
    assert tiling.fingerprint() == Tiling([2, 3], 0.0, shared, [1, 1]).fingerprint()


@pytest.mark.parametrize("blocks", [[0, 2], [2], [2, -1]])
def test_blocks_out_of_range(blocks):
    with pytest.raises(ConfigError, match=r"tiling\.blocks"):
        Tiling([1, 1], 0.0, shared=False, blocks=blocks)


@pytest.mark.parametrize(("grid", "overlap"), [([0, 1], 0.0), ([1], 0.0), ([1, 1], 0.6)])
def test_settings_out_of_range(grid, overlap):
    with pytest.raises(ConfigError, match="tiling"):
        Tiling(grid, overlap, shared=False, blocks=[1, 1])
