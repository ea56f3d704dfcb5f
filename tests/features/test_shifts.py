import numpy as np
import pytest
import torch
from sklearn import decomposition

from fre_lightning.detector.layer import Branch
from fre_lightning.errors import ConfigError
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.shifts import CellShifts, shifted_copies
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import PCA
from fre_lightning.reducers.cross_fit import draw_folds

SHAPE = (2, 3, 4)


def make_maps(n):
    return np.random.default_rng(0).normal(size=(n, *SHAPE)).astype(np.float32)


def fit(maps, folds=None, n_components=0.97, tiling=None):
    """A branch that learnt from maps in two shards and their shifted copies."""
    tiling = tiling or Tiling([1, 1], 0.0, shared=False, blocks=[1, 1])
    reducers = [PCA(n_components) for _ in range(tiling.n_subspaces)]
    branch = Branch(ChannelStandardizer("none"), reducers, tiling)
    tiles = maps.reshape(-1, tiling.n_tiles, *SHAPE)
    rows = CachedRows(
        [tiles[:1], tiles[1:]] if len(tiles) > 1 else [tiles], [*range(len(tiles))], [], False
    )
    branch.standardize(rows)
    return branch, branch.fit(rows, folds, torch.device("cpu"), CellShifts(100, 10**6))


def shift_plainly(a_map):
    """All nine copies `(9, C, h, w)`; a cell beyond the border is the nearest within."""
    n_rows, n_columns = a_map.shape[1:]
    return np.stack(
        [
            a_map[
                :,
                np.clip(np.arange(n_rows) + dy, 0, n_rows - 1)[:, None],
                np.clip(np.arange(n_columns) + dx, 0, n_columns - 1)[None],
            ]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
    )


def read(copies):
    return [copy[:, :] for copy in copies]


def test_copies_by_hand():
    copies = read(shifted_copies(np.array([[[[1.0, 2.0], [3.0, 4.0]]]], np.float32), 9))
    assert copies[0].tolist() == [[1, 2, 3, 4]]  # first the map as it is
    flat = sorted(tuple(copy.ravel().tolist()) for copy in copies)
    assert flat == sorted(
        [
            (1, 2, 3, 4),
            (1, 1, 3, 3),  # from the left
            (2, 2, 4, 4),
            (1, 2, 1, 2),  # from above
            (3, 4, 3, 4),
            (1, 1, 1, 1),
            (2, 2, 2, 2),
            (3, 3, 3, 3),
            (4, 4, 4, 4),
        ]
    )


def test_five_copies_are_those_to_the_four_sides():
    numbers = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    copies = read(shifted_copies(numbers, 5))
    assert sorted(int(copy[0, 4]) for copy in copies) == [1, 3, 4, 5, 7]  # what comes to the middle


def test_blocks_of_copies_are_parts_of_them():
    maps = make_maps(5)
    for copy in shifted_copies(maps, 9):
        assert copy.shape == (5, 24)
        np.testing.assert_array_equal(copy[1:4, 5:20], copy[:, :][1:4, 5:20])
    plainly = np.stack([shift_plainly(a_map) for a_map in maps], axis=1).reshape(9, 5, -1)
    copies = np.stack(read(shifted_copies(maps, 9)))
    np.testing.assert_array_equal(np.sort(copies, axis=0), np.sort(plainly, axis=0))


def test_the_more_images_the_fewer_copies():
    shifts = CellShifts(400, 4000)
    assert shifts.n_copies(64, (16, 16)) == 9
    assert shifts.n_copies(65, (16, 16)) == 5
    assert shifts.n_copies(400, (16, 16)) == 5
    assert shifts.n_copies(401, (16, 16)) == 1
    assert CellShifts(20, 4000).n_copies(21, (16, 16)) == 1
    assert shifts.n_copies(3, (1, 1)) == 1
    assert CellShifts(0, 4000).n_copies(1, (16, 16)) == 1
    with pytest.raises(ConfigError, match="max_images"):
        CellShifts(-1, 4000)


def test_shifted_parts_are_normal():
    """One image suffices; its copies lie in the subspace, a map that is none of them doesn't."""
    maps = make_maps(1)
    branch, held_out = fit(maps, n_components=0.9999)
    assert held_out is None
    errors = branch(torch.from_numpy(shift_plainly(maps[0]))[:, None])
    other = branch(torch.from_numpy(make_maps(2)[1:])[:, None])
    assert errors.max() < 1e-2 * other.mean()


@pytest.mark.parametrize(
    ("n_images", "n_subspaces", "copies"),
    [(50, 8, 9), (50, 9, 5), (50, 17, 1), (270, 2, 5), (270, 3, 1), (400, 2, 5)],
)
def test_many_tiles_have_fewer_copies(n_images, n_subspaces, copies, caplog):
    caplog.set_level("INFO")
    assert CellShifts(400, 4000).n_copies(n_images, (16, 16), n_subspaces) == copies
    wanted = 9 if n_images == 50 else 5
    assert bool(caplog.records) == (copies < wanted)


def test_copies_are_held_out_with_their_image():
    maps, folds = make_maps(6), draw_folds(6, 3)
    _, held_out = fit(maps, folds, n_components=5)
    for fold in range(3):
        kept = np.concatenate([shift_plainly(m) for m in maps[folds != fold]])
        pca = decomposition.PCA(5, svd_solver="full").fit(kept.reshape(len(kept), -1))
        left_out = maps[folds == fold].reshape(-1, np.prod(SHAPE))
        error = left_out - pca.inverse_transform(pca.transform(left_out))
        expected = (error**2).reshape(-1, *SHAPE).sum(axis=1)
        np.testing.assert_allclose(held_out[folds == fold], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_tiles_are_held_out_with_their_image(shared):
    tiling = Tiling([1, 2], 0.0, shared=shared, blocks=[1, 1])
    maps, folds = make_maps(8), draw_folds(4, 2)
    _, held_out = fit(maps, folds, n_components=5, tiling=tiling)
    tiles = maps.reshape(4, 2, *SHAPE)
    assert held_out.shape == (4, 3, 8)
    kept = tiles[folds != 0] if shared else tiles[folds != 0][:, :1]
    learnt = np.concatenate([shift_plainly(m) for m in kept.reshape(-1, *SHAPE)])
    pca = decomposition.PCA(5, svd_solver="full").fit(learnt.reshape(len(learnt), -1))
    left_out = tiles[folds == 0][:, 0].reshape(-1, np.prod(SHAPE))
    error = left_out - pca.inverse_transform(pca.transform(left_out))
    expected = (error**2).reshape(-1, *SHAPE).sum(axis=1)
    np.testing.assert_allclose(held_out[folds == 0][:, :, :4], expected, rtol=1e-4, atol=1e-5)


def test_held_out_rank_counts_images_not_copies():
    """Noise has no direction that helps other images, whatever its copies share."""
    branch, _ = fit(make_maps(12), n_components="held_out")
    assert branch.reducers[0].n_components <= 3


def test_nothing_is_shifted_in_from_outside():
    """Copies of a rectangle of cells are those of the map cut to it."""
    maps, inside = make_maps(5), np.zeros(SHAPE[1:], bool)
    inside[1:, 1:3] = True
    cropped = read(shifted_copies(np.ascontiguousarray(maps[:, :, 1:, 1:3]), 9))
    for copy, expected in zip(read(shifted_copies(maps, 9, inside)), cropped, strict=True):
        np.testing.assert_array_equal(copy, expected)
