import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from fre_lightning.errors import FeatureError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.cross_fit import draw_folds, held_out_errors
from fre_lightning.reducers.subspace import find_subspace

SHAPE = (4, 3, 2)
POSITIONS = torch.arange(24) % 6


def make_features(n):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 24)) * np.linspace(3, 0.3, 8)[:, None]
    return rng.normal(size=(n, 8)) @ mixing + 0.1 * rng.normal(size=(n, 24)) + 5


def refit_plainly(features, folds, n_components):
    """The definition: a PCA for each fold, of all images that are not in it."""
    return square_errors(features, folds, n_components).sum(axis=1)


def square_errors(features, folds, n_components):
    squares = np.empty((len(features), *SHAPE))
    for fold in np.unique(folds):
        pca = PCA(n_components, svd_solver="full").fit(features[folds != fold])
        held_out = features[folds == fold]
        error = held_out - pca.inverse_transform(pca.transform(held_out))
        squares[folds == fold] = (error**2).reshape(-1, *SHAPE)
    return squares


@pytest.mark.parametrize("n_components", [0.97, 3])
@pytest.mark.parametrize("n", [12, 20, 24, 60])  # fewer and more images than features
def test_refits_are_those_of_scikit_learn(n, n_components):
    features, folds = make_features(n), draw_folds(n, 4)
    matrix = FeatureMatrix([torch.from_numpy(features[:7]), torch.from_numpy(features[7:])])
    subspace = find_subspace(matrix)
    maps = held_out_errors(subspace, n_components, POSITIONS, folds).view(-1, *SHAPE[1:])
    as_read = features.astype(np.float32).astype(np.float64)
    expected = refit_plainly(as_read, folds.numpy(), n_components)
    np.testing.assert_allclose(maps.numpy(), expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.parametrize("n", [20, 60])
def test_channel_errors_are_those_of_scikit_learn(n):
    features, folds = make_features(n).astype(np.float32), draw_folds(n, 4)
    subspace = find_subspace(FeatureMatrix([torch.from_numpy(features)]))
    channels = torch.arange(24) // 6
    errors = held_out_errors(subspace, 0.97, channels, folds).mean(dim=0) / 6
    expected = square_errors(features.astype(np.float64), folds.numpy(), 0.97).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(errors.numpy(), expected, rtol=1e-3)


def test_held_out_images_have_larger_errors_than_those_trained_on():
    features = torch.from_numpy(make_features(16))
    subspace = find_subspace(FeatureMatrix([features]))
    maps = held_out_errors(subspace, 0.97, POSITIONS, draw_folds(16, 4))
    pca = PCA(0.97, svd_solver="full").fit(features)
    error = features.numpy() - pca.inverse_transform(pca.transform(features))
    assert maps.sum() > 2 * (error**2).sum()


def test_folds_are_equally_large_and_repeatable():
    folds = draw_folds(11, 4, seed=3)
    assert sorted(folds.bincount().tolist()) == [2, 3, 3, 3]
    assert torch.equal(folds, draw_folds(11, 4, seed=3))
    assert not torch.equal(folds, draw_folds(11, 4, seed=4))


def test_a_fold_that_leaves_nothing_to_learn_from():
    features = torch.ones(4, 24)
    features[0] += 1
    subspace = find_subspace(FeatureMatrix([features]))
    with pytest.raises(FeatureError, match="same features"):
        held_out_errors(subspace, 0.97, POSITIONS, torch.tensor([0, 1, 1, 1]))


@pytest.mark.parametrize("n", [14, 40])  # fewer and more images than features
def test_images_that_are_not_scored_are_held_out_all_the_same(n):
    features = torch.randn(n, 24, generator=torch.Generator().manual_seed(3))
    subspace, folds = find_subspace(FeatureMatrix([features])), draw_folds(n, 4)
    groups = torch.arange(24) % 6
    everything = held_out_errors(subspace, 0.9, groups, folds)
    first = held_out_errors(subspace, 0.9, groups, folds, n_scored=9)
    torch.testing.assert_close(first, everything[:9], rtol=1e-5, atol=1e-6)
