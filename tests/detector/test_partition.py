"""What a partition deals out, against loops over images, tiles and cells."""

import numpy as np
import pytest
import torch

from fre_lightning.detector.partition import Partition
from fre_lightning.features.cache import CachedRows
from fre_lightning.images.tiling import Tiling

N, C, H, W = 3, 2, 4, 5
GRID, BLOCKS = (2, 3), (2, 2)


def make(*, shared, blocks=BLOCKS):
    tiling = Tiling(GRID, 0.0, shared=shared, blocks=blocks)
    features = np.random.default_rng(0).normal(size=(N, tiling.n_tiles, C, H, W))
    rows = CachedRows([features[:1], features[1:]], [*range(N)], [], was_computed=False)
    return Partition(tiling), features, rows


@pytest.mark.parametrize("shared", [False, True])
def test_shards_of_each_subspace(shared):
    partition, features, rows = make(shared=shared)
    found = [np.concatenate(shards) for shards in partition.shards(rows)]
    assert len(found) == partition.tiling.n_subspaces
    for number, one in enumerate(found):
        group = number // partition.tiling.n_blocks
        tiles = range(6) if shared else [group]
        expected = [features[n, tile] for n in range(N) for tile in tiles]
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("blocks", [(1, 1), (2, 2), (4, 1)])
def test_joined_maps_are_those_of_images(shared, blocks):
    """Each cell comes from the one subspace that it belongs to."""
    partition, features, _ = make(shared=shared, blocks=blocks)
    tiling = partition.tiling
    whole = torch.from_numpy(features[:, :, 0]).flatten(2)  # a map of each tile of each image
    cells = tiling.cells_of_blocks((H, W))
    maps = []
    for number in range(tiling.n_subspaces):
        group, block = divmod(number, tiling.n_blocks)
        own = whole.flatten(0, 1) if shared else whole[:, group]
        maps.append(own * cells[block])
    joined = partition.join(maps, (H, W))
    assert joined.shape == (N, GRID[0] * H, GRID[1] * W)
    for n, row, column in np.ndindex(*joined.shape):
        tile = row // H * GRID[1] + column // W
        assert joined[n, row, column] == features[n, tile, 0, row % H, column % W]


@pytest.mark.parametrize("shared", [False, True])
def test_weights_of_each_subspace(shared):
    partition, features, _ = make(shared=shared)
    weights = torch.from_numpy(features[:, :, 0])
    found = [*partition.weights(weights)]
    assert len(found) == len([*partition.weights(None)]) == partition.tiling.n_subspaces
    for number, one in enumerate(found):
        group = number // partition.tiling.n_blocks
        expected = weights.flatten(2) if shared else weights.flatten(2)[:, [group]]
        assert torch.equal(one, expected)
