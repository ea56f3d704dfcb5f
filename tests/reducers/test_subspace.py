import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn import decomposition

from fre_lightning.errors import ConfigError, FeatureError
from fre_lightning.features.matrix import BLOCK_BYTES, FeatureMatrix
from fre_lightning.reducers.axes import choose_rank
from fre_lightning.reducers.subspace import find_subspace


def make_features(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Correlated features with a decaying spectrum, far from the origin."""
    rng = np.random.default_rng(seed)
    r = min(n, d)
    spectrum = 0.9 ** np.arange(r) * 10
    mixed = (rng.normal(size=(n, r)) * spectrum) @ rng.normal(size=(r, d)) + 100
    return mixed.astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(40, 300), (300, 40), (50, 50)])
def test_axes_variances_and_rank_are_scikit_learns(n, d):
    features = make_features(n, d)
    subspace = find_subspace(FeatureMatrix([features]))
    oracle = decomposition.PCA(svd_solver="full").fit(features.astype(np.float64))
    k = choose_rank(0.97, subspace.variances)
    assert (
        k
        == decomposition.PCA(0.97, svd_solver="full").fit(features.astype(np.float64)).n_components_
    )
    np.testing.assert_allclose(subspace.variances[:k], oracle.explained_variance_[:k], rtol=1e-6)
    axes = subspace.lift(torch.eye(k, len(subspace.variances))).numpy()
    assert subspace_angles(axes.T, oracle.components_[:k].T).max() < 1e-3
    np.testing.assert_allclose(subspace.mean, features.mean(axis=0, dtype=np.float64), rtol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(20, 90), (90, 20)])
def test_coordinates_are_an_isometry_that_lift_inverts(n, d):
    features = torch.from_numpy(make_features(n, d))
    subspace = find_subspace(FeatureMatrix([features]))
    coordinates = subspace.coordinates()
    centred = features.double() - subspace.mean
    gram, expected = coordinates @ coordinates.T, centred @ centred.T
    torch.testing.assert_close(gram, expected, rtol=1e-9, atol=1e-9 * float(expected.max()))
    axes = subspace.lift(torch.eye(len(subspace.variances))).double()
    torch.testing.assert_close(coordinates @ axes, centred, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(30, 150_000), (150_000, 30)])
def test_a_matrix_that_is_read_in_blocks(n, d):
    features = make_features(n, d)
    assert features.nbytes > 2 * BLOCK_BYTES
    subspace = find_subspace(FeatureMatrix([features[:11], features[11:12], features[12:]]))
    centred = features - features.mean(axis=0, dtype=np.float64)
    scatter = centred @ centred.T if n < d else centred.T @ centred
    expected = np.linalg.eigvalsh(scatter)[::-1][: min(n, d) - 1] / (n - 1)
    np.testing.assert_allclose(subspace.variances[: len(expected)], expected, rtol=1e-6)
    np.testing.assert_allclose(subspace.mean, features.mean(axis=0, dtype=np.float64), rtol=1e-9)


def test_rank_is_that_of_the_data_not_of_rounding():
    base = make_features(6, 50).astype(np.float64)
    features = np.vstack([base, base, base.mean(axis=0, keepdims=True)]).astype(np.float32)
    variances = find_subspace(FeatureMatrix([features])).variances
    assert len(variances) <= 12
    assert int((variances > variances[0] * 1e-9).sum()) == 5


def test_one_image():
    with pytest.raises(FeatureError, match="at least 2"):
        find_subspace(FeatureMatrix([torch.ones(1, 8)]))


def test_copies_of_one_image():
    with pytest.raises(FeatureError, match="copies of one image"):
        find_subspace(FeatureMatrix([torch.ones(5, 8)]))


def test_rank_by_hand():
    variances = torch.tensor([6.0, 3.0, 1.0], dtype=torch.float64)
    assert [choose_rank(ratio, variances) for ratio in (0.5, 0.6, 0.61, 0.95)] == [1, 2, 2, 3]
    assert choose_rank(2, variances) == 2


@pytest.mark.parametrize("n_components", [0, -1, 1.5, 0.0, True])
def test_meaningless_rank(n_components):
    with pytest.raises(ConfigError, match="neither a share"):
        choose_rank(n_components, torch.ones(3))


def test_more_components_than_images():
    with pytest.raises(ConfigError, match="more than the 3 directions"):
        choose_rank(4, torch.ones(3))
