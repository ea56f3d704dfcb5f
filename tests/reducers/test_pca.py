import numpy as np
import torch
from sklearn import decomposition

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import PCA
from fre_lightning.reducers.rank import MAX_FROM_COPIES


def test_reconstruction_errors_are_scikit_learns():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(30, 200)) * 0.8 ** np.arange(30)[:, None]
    train, test = (rng.normal(size=(n, 30)) @ mixing + 5 for n in (60, 10))
    oracle = decomposition.PCA(0.97, svd_solver="full").fit(train)
    expected = ((test - oracle.inverse_transform(oracle.transform(test))) ** 2).sum(axis=1)
    pca = PCA(0.97)
    pca.fit(FeatureMatrix([train.astype(np.float32)]))
    features = torch.from_numpy(test).float()
    error = (features - pca(features)).square().sum(dim=1)
    assert pca.n_components == oracle.n_components_
    np.testing.assert_allclose(error, expected, rtol=1e-3)


def test_an_update_keeps_the_share_that_a_cut_left():
    generator = torch.Generator().manual_seed(0)
    first, later = (
        torch.randn(500, 400, generator=generator),
        torch.randn(60, 400, generator=generator),
    )
    reducer = PCA(0.97)
    reducer.fit(FeatureMatrix([first], n_copies=5))
    assert reducer.n_components == MAX_FROM_COPIES
    share = float(reducer.variances.sum() / (reducer.variances.sum() + reducer.rest))
    assert share < 0.9
    reducer.update(FeatureMatrix([later]))
    whole = float(reducer.variances.sum() + reducer.rest)
    kept = float(reducer.variances.sum()) / whole
    without_last = float(reducer.variances[:-1].sum()) / whole
    assert without_last < share <= kept + 1e-6
    assert reducer.n_components < MAX_FROM_COPIES + len(later) - 1  # not all that there is
