import numpy as np
import torch
from sklearn import decomposition

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import PCA


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
