import numpy as np
import torch

from fre_lightning.features.cells import CellWeights
from fre_lightning.features.matrix import FeatureMatrix

C, P = 3, 4
ALL = torch.ones(P, dtype=torch.bool)
ROWS = np.random.default_rng(0).normal(5, 1, size=(6, C * P)).astype(np.float32)


def weigh_plainly(rows, weights):
    """As documented, in float64: `(N, C * P)` with zeros where nothing ever counts."""
    maps, each = rows.reshape(-1, C, P).astype(np.float64), weights[:, None]
    mean = (maps * each).sum(axis=0) / np.maximum(each.sum(axis=0), 1e-9)
    return (maps - mean) * np.sqrt(each)


def test_without_weights_nothing_changes():
    cells, features = CellWeights(), FeatureMatrix([ROWS])
    cells.fit(features)
    assert cells.weigh(features) is features
    rows = torch.from_numpy(ROWS)
    assert cells(rows) is cells.spread(rows) is cells.fill(rows) is rows
    assert cells.inside((2, 2)) is None
    assert not cells.state_dict()


def test_each_image_is_weighed_by_its_own_cells():
    weights = np.random.default_rng(1).uniform(size=(6, P)).round()
    weights[:, 1] = 0
    weights[:2, 3] = 0.5
    cells = CellWeights()
    cells.use(torch.from_numpy(weights).float()[:, None], ALL)
    features = FeatureMatrix([ROWS[:4], ROWS[4:]], block_bytes=64)
    cells.fit(features)
    kept = [0, 2, 3]
    expected = weigh_plainly(ROWS, weights)[:, :, kept].reshape(6, -1)
    weighed = cells.weigh(features)
    assert weighed.shape == (6, C * 3)
    np.testing.assert_allclose(weighed.block(slice(None)), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        weighed.block(slice(2, 5), slice(2, 7)), expected[2:5, 2:7], rtol=1e-4, atol=1e-6
    )
    cut = FeatureMatrix([ROWS.reshape(6, C, P)[:, :, kept].reshape(6, -1)])
    np.testing.assert_array_equal(cells.weigh(cut).block(slice(None)), weighed.block(slice(None)))
    found = cells(torch.from_numpy(ROWS), torch.from_numpy(weights).float())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(cells.inside((2, 2)), [[True, False], [True, True]])
    filled = cells.fill(torch.from_numpy(ROWS).view(6, C, 2, 2)).flatten(2).numpy()
    counts = np.broadcast_to((weights > 0)[:, None], filled.shape)
    np.testing.assert_array_equal(filled[counts], ROWS.reshape(filled.shape)[counts])
    again = weigh_plainly(filled, np.where(weights > 0, weights, 1e-9))[:, :, kept]
    assert np.abs(again[~counts[:, :, kept]]).max() < 1e-8  # the mean


def test_values_are_spread_to_where_they_belong():
    cells = CellWeights()
    cells.use(torch.tensor([[[0.0, 1.0, 0.0, 0.5]]]), ALL)
    assert cells.spread(torch.tensor([[1.0, 2.0]])).tolist() == [[0, 1, 0, 2]]
    assert not cells.is_empty
    cells.use(torch.zeros(1, 1, P), ALL)
    assert cells.is_empty
