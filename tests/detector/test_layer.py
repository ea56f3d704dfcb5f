import numpy as np
import pytest
import torch
from sklearn import decomposition

from fre_lightning.detector.layer import Branch
from fre_lightning.features.cache import CachedRows
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.shifts import CellShifts
from fre_lightning.features.standardizer import ChannelStandardizer
from fre_lightning.images.tiling import Tiling
from fre_lightning.reducers import PCA
from fre_lightning.reducers.cross_fit import draw_folds
from fre_lightning.reducers.rank import MAX_FROM_COPIES

N, C, SIDE = 24, 3, 4


def make_maps(n, n_tiles=1):
    """Tiles `(n, T, C, h, w)`: two channels that images have in common, one that is noise."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(1, 2, size=(3, C, SIDE, SIDE))
    maps = np.einsum("ntk,kchw->ntchw", rng.uniform(1, 2, size=(n, n_tiles, 3)), patterns)
    maps[:, :, 2] = rng.uniform(1, 4, size=maps[:, :, 2].shape)
    return maps.astype(np.float32)


def fit(maps, compression="cbrt", *, shared=True, folds=None):
    tiling = Tiling([1, maps.shape[1]], 0.0, shared=shared, blocks=[1, 1])
    reducers = [PCA(0.97) for _ in range(tiling.n_subspaces)]
    branch = Branch(ChannelStandardizer(compression), reducers, tiling)
    rows = CachedRows([maps[:5], maps[5:]], [*range(len(maps))], [], False)
    branch.standardize(rows)
    branch.fit(rows, folds, torch.device("cpu"))
    return branch


@pytest.mark.parametrize(("n_tiles", "shared"), [(1, True), (2, True), (2, False)])
def test_channels_are_scaled_by_what_held_out_images_show(n_tiles, shared):
    maps, folds = make_maps(N, n_tiles), draw_folds(N, 4)
    scale = fit(maps, shared=shared, folds=folds).standardizer.scale
    roots = np.cbrt(maps.astype(np.float64))
    plain = 1 / roots.std(axis=(0, 1, 3, 4))
    standard = roots * plain[:, None, None]
    noise = np.zeros(C)
    groups = [[0, 1][:n_tiles]] if shared else [[0], [1]]
    for tiles in groups:
        flat = standard[:, tiles].reshape(N * len(tiles), -1)
        fold_of = np.repeat(folds.numpy(), len(tiles))
        for fold in range(4):
            pca = decomposition.PCA(0.97, svd_solver="full").fit(flat[fold_of != fold])
            held_out = flat[fold_of == fold]
            error = held_out - pca.inverse_transform(pca.transform(held_out))
            noise += (error**2).reshape(-1, C, SIDE * SIDE).sum(axis=(0, 2))
    expected = plain * (noise / noise.mean()) ** -0.25
    np.testing.assert_allclose(scale.numpy(), expected, rtol=1e-3)
    assert expected[2] / plain[2] < 0.7 * (expected[:2] / plain[:2]).min()


def test_without_folds_or_compression_channels_keep_their_scale():
    maps = make_maps(N)
    plain = 1 / np.cbrt(maps.astype(np.float64)).std(axis=(0, 1, 3, 4))
    np.testing.assert_allclose(fit(maps).standardizer.scale.numpy(), plain, rtol=1e-5)
    branch = fit(maps, "none", folds=draw_folds(N, 4))
    features = torch.from_numpy(maps[:, 0]).flatten(1)
    assert branch.standardizer(features) is features


@pytest.mark.parametrize("n_copies", [1, 9])
@pytest.mark.parametrize(("n_tiles", "shared"), [(1, True), (2, True), (2, False)])
@pytest.mark.parametrize("is_weighed", [False, True])
@pytest.mark.parametrize("blocks", [[1, 1], [1, 2]])
def test_an_update_is_a_fit_on_all_if_nothing_was_dropped(
    n_tiles, shared, n_copies, is_weighed, blocks
):
    maps, n_old, cpu = make_maps(N, n_tiles), 15, torch.device("cpu")
    weights = torch.zeros(1, n_tiles, SIDE, SIDE)
    weights[:, :, 1:] = torch.tensor([0.5, 1.0, 1.0])[:, None]
    shifts = CellShifts(100 if n_copies > 1 else 0, 10**6)
    new_folds = draw_folds(N - n_old, 3)

    def fit_on(part, n_components, folds=None):
        tiling = Tiling([1, n_tiles], 0.0, shared=shared, blocks=blocks)
        reducers = [PCA(n_components) for _ in range(tiling.n_subspaces)]
        branch = Branch(ChannelStandardizer("none"), reducers, tiling)
        rows = CachedRows([part], [*range(len(part))], [], False)
        if is_weighed:
            branch.weigh(weights)
        branch.standardize(rows)
        return branch, branch.fit(rows, folds, cpu, shifts)

    updated, _ = fit_on(maps[:n_old], 1 - 1e-9)
    for reducer in updated.reducers:
        reducer.n_components_requested = 6
    further = CachedRows([maps[n_old:]], [*range(N - n_old)], [], False)
    held_out = updated.update(further, new_folds, cpu, n_old)
    # An image that no fold holds out is in a fold of its own, which is not compared.
    whole, _ = fit_on(maps, 6)
    _, expected = fit_on(maps, 6, torch.cat([torch.full((n_old,), 9), new_folds]))
    features = torch.from_numpy(maps)
    np.testing.assert_allclose(updated(features), whole(features), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(held_out, expected[n_old:], rtol=1e-3, atol=1e-4)


def test_held_out_errors_are_those_of_as_many_components_as_were_cut_to():
    maps = np.random.default_rng(0).normal(size=(40, 1, 30, SIDE, SIDE)).astype(np.float32)
    held_out = []
    for n_components in (0.97, MAX_FROM_COPIES):
        branch = Branch(
            ChannelStandardizer("none"),
            [PCA(n_components)],
            Tiling([1, 1], 0.0, shared=True, blocks=[1, 1]),
        )
        rows = CachedRows([maps], [*range(len(maps))], [], False)
        branch.standardize(rows)
        held_out.append(
            branch.fit(rows, draw_folds(40, 4), torch.device("cpu"), CellShifts(100, 10**6))
        )
        assert branch.reducers[0].n_components == MAX_FROM_COPIES
    torch.testing.assert_close(*held_out)


BLOCKS = [
    ([2, 2], [(slice(0, 2), slice(0, 2)), (slice(0, 2), slice(2, 4)),
              (slice(2, 4), slice(0, 2)), (slice(2, 4), slice(2, 4))]),
    ([1, 3], [(slice(0, 4), slice(0, 2)), (slice(0, 4), slice(2, 3)), (slice(0, 4), slice(3, 4))]),
]  # fmt: skip


def fit_blocks(maps, blocks, folds=None, *, shared=False, shifts=None, n_components=3):
    tiling = Tiling([1, maps.shape[1]], 0.0, shared, blocks)
    reducers = [PCA(n_components) for _ in range(tiling.n_subspaces)]
    branch = Branch(ChannelStandardizer("none"), reducers, tiling)
    rows = CachedRows([maps[:7], maps[7:]], [*range(len(maps))], [], False)
    branch.standardize(rows)
    return branch, branch.fit(rows, folds, torch.device("cpu"), shifts)


@pytest.mark.parametrize(("blocks", "places"), BLOCKS)
@pytest.mark.parametrize(("n_tiles", "shared"), [(1, False), (2, False), (2, True)])
def test_blocks_are_pca_of_each_cropped_map(blocks, places, n_tiles, shared):
    maps, folds = make_maps(N, n_tiles), draw_folds(N, 4)
    branch, held_out = fit_blocks(maps, blocks, folds, shared=shared)
    found = branch(torch.from_numpy(maps))

    def errors_of(learnt, judged):
        pca = decomposition.PCA(3, svd_solver="full").fit(learnt.reshape(len(learnt), -1))
        flat = judged.reshape(len(judged), -1)
        error = (flat - pca.inverse_transform(pca.transform(flat))) ** 2
        return error.reshape(judged.shape).sum(axis=1)

    for tile in range(n_tiles):
        group = list(range(n_tiles)) if shared else [tile]
        for rows, columns in places:
            crop = maps[..., rows, columns].astype(np.float64)
            window = (
                slice(None),
                rows,
                slice(SIDE * tile + columns.start, SIDE * tile + columns.stop),
            )
            learnt = crop[:, group].reshape(-1, *crop.shape[2:])
            np.testing.assert_allclose(
                found[window], errors_of(learnt, crop[:, tile]), rtol=1e-3, atol=1e-4
            )
            for fold in range(4):
                kept, left = crop[folds != fold][:, group], crop[folds == fold][:, tile]
                np.testing.assert_allclose(
                    held_out[window][folds == fold],
                    errors_of(kept.reshape(-1, *crop.shape[2:]), left),
                    rtol=1e-3,
                    atol=1e-4,
                )


@pytest.mark.parametrize(("blocks", "places"), BLOCKS)
def test_copies_of_a_block_are_those_of_its_cropped_map(blocks, places):
    maps, folds, shifts = make_maps(N), draw_folds(N, 4), CellShifts(100, 10**6)
    branch, held_out = fit_blocks(maps, blocks, folds, shifts=shifts)
    found = branch(torch.from_numpy(maps))
    for place in places:
        crop = np.ascontiguousarray(maps[(..., *place)])
        own, own_held_out = fit_blocks(crop, [1, 1], folds, shifts=shifts)
        window = (slice(None), *place)
        np.testing.assert_allclose(found[window], own(torch.from_numpy(crop)), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(held_out[window], own_held_out, rtol=1e-3, atol=1e-4)


def test_blocks_take_as_many_copies_as_the_whole():
    """Four blocks take as much memory as the map that they are cut from."""
    shifts, maps = CellShifts(100, 9 * N), make_maps(N)
    for blocks in ([1, 1], [2, 2]):
        branch, _ = fit_blocks(maps, blocks, shifts=shifts)
        assert {int(reducer.n_rows) for reducer in branch.reducers} == {9 * N}


def test_one_block_is_the_whole_bit_for_bit():
    maps = make_maps(N)
    branch, _ = fit_blocks(maps, [1, 1])
    features = torch.from_numpy(maps[:, 0]).flatten(1)
    reducer = PCA(3)
    reducer.fit(FeatureMatrix([features]))
    error = (features - reducer(features)).view(N, C, SIDE, SIDE).square().sum(dim=1)
    assert torch.equal(branch(torch.from_numpy(maps)), error)
    assert not any("cells" in name for name in branch.state_dict())


def test_more_blocks_than_cells_leave_some_empty():
    maps = make_maps(N)[..., :1]
    branch, _ = fit_blocks(maps, [2, 3], draw_folds(N, 4))
    assert len(branch.reducers) == 2
    found = branch(torch.from_numpy(maps))
    assert found.shape == (N, SIDE, 1)
    assert (found > 0).all()
