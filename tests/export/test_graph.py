import pytest
import torch

from fre_lightning.export.graph import ExportedReducer
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import PCA, Autoencoder


@pytest.mark.parametrize("kind", ["pca", "ae"])
def test_it_reconstructs_as_the_reducer_does(kind):
    rows = torch.randn(30, 50, generator=torch.Generator().manual_seed(0))
    if kind == "pca":
        reducer = PCA(0.9)
        reducer.fit(FeatureMatrix([rows.numpy()]))
    else:
        reducer = Autoencoder(8, epochs=1, lr=1e-3, batch_size=8, space="span")
        reducer.fit(FeatureMatrix([rows.numpy()]))
        reducer.training_epoch()
        reducer.finish()
    expected = reducer(rows)
    torch.testing.assert_close(ExportedReducer(reducer, torch.float32)(rows), expected)
    half = ExportedReducer(reducer, torch.float16)
    assert half.encoder.dtype == torch.float16
    assert 0 < (half(rows) - expected).norm() < 1e-3 * expected.norm()
