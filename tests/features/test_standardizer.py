import io

import numpy as np
import pytest
import torch

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.features.standardizer import COMPRESSIONS, ChannelStandardizer

N, C, POSITIONS = 20, 3, 4

COMPRESS = {
    "sqrt": np.sqrt,
    "cbrt": np.cbrt,
    "log": lambda x: np.log(x / x.mean(axis=(0, 2), keepdims=True) + 0.2),
}


@pytest.fixture
def features():
    """Non-negative `(N, C * positions)`, the channels of unlike size."""
    rng = np.random.default_rng(0)
    maps = rng.gamma(2.0, size=(N, C, POSITIONS)) * np.array([0.01, 1.0, 300.0])[:, None]
    return torch.from_numpy(maps.astype(np.float32).reshape(N, -1))


def fitted(compression, features, n_channels=C):
    standardizer = ChannelStandardizer(compression)
    standardizer.fit(FeatureMatrix(features.split(7)), n_channels)
    return standardizer


@pytest.mark.parametrize("compression", COMPRESS)
def test_features_are_compressed_then_scaled_by_channel(compression, features):
    maps = features.numpy().astype(np.float64).reshape(N, C, POSITIONS)
    compressed = COMPRESS[compression](maps)
    expected = compressed / compressed.std(axis=(0, 2), keepdims=True)
    standardized = fitted(compression, features)(features)
    assert standardized.dtype == torch.float32
    np.testing.assert_allclose(standardized.numpy(), expected.reshape(N, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compression", COMPRESS)
def test_what_was_learnt_is_kept_for_other_features(compression, features):
    standardizer = fitted(compression, features)
    expected = standardizer(features)
    before = features.clone()
    torch.testing.assert_close(standardizer(features[3:5]), expected[3:5])
    assert torch.equal(features, before)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_column_blocks_are_those_of_the_whole(compression, features):
    standardizer = fitted(compression, features)
    # 5 columns at a time, so that blocks start and end within channels.
    matrix = FeatureMatrix([features], standardizer, block_bytes=5 * 4 * N)
    blocks = torch.cat([block for _, block in matrix.column_blocks()], dim=1)
    torch.testing.assert_close(blocks, standardizer(features))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_fresh_instance_takes_the_state(compression, features):
    standardizer, file = fitted(compression, features), io.BytesIO()
    torch.save(standardizer.state_dict(), file)
    file.seek(0)
    fresh = ChannelStandardizer(compression)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh(features), standardizer(features))
    assert fresh.n_positions == standardizer.n_positions


def test_none_returns_the_features_themselves(features):
    assert fitted("none", features)(features) is features


@pytest.mark.parametrize("compression", ["sqrt", "cbrt"])
def test_roots_are_odd(compression, features):
    standardizer = fitted(compression, features)
    torch.testing.assert_close(standardizer(-features), -standardizer(features))


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("constant", [0.0, 0.3, 1234.5])
def test_constant_channels_are_not_scaled(compression, constant, features):
    maps = features.view(N, C, POSITIONS).clone()
    maps[:, 1] = constant
    standardizer = fitted(compression, maps.flatten(1))
    assert standardizer.scale[1] == 1
    assert (standardizer.scale[[0, 2]] != 1).all()
    # What differs from the constant later on is neither lost nor blown up.
    values = standardizer(torch.full((1, C * POSITIONS), constant + 0.5)).view(C, POSITIONS)
    assert values[1].isfinite().all()
    assert values[1].abs().max() < 100


def test_log_takes_negative_features_for_zero(features):
    maps = features.view(N, C, POSITIONS).clone()
    maps[:, 0] -= maps[:, 0].mean()
    maps[:, 1] *= -1
    signed = maps.flatten(1)
    standardizer = fitted("log", signed)
    standardized = standardizer(signed)
    assert standardized.isfinite().all()
    assert torch.equal(standardized, standardizer(signed.clamp(min=0)))
    torch.testing.assert_close(standardizer.scale, fitted("log", signed.clamp(min=0)).scale)
    # Channel 1 had no positive features to learn from.
    assert standardizer(signed.abs() * 1e6).isfinite().all()


def test_noisy_channels_are_turned_down(features):
    standardizer = fitted("cbrt", features)
    before = standardizer.scale.clone()
    standardizer.damp_noise(torch.tensor([1.0, 4.0, 0.0]))  # of mean 5 / 3; the last is constant
    expected = before * torch.tensor([(3 / 5) ** -0.25, (12 / 5) ** -0.25, 1.0])
    torch.testing.assert_close(standardizer.scale, expected)


def test_an_unknown_compression_is_refused():
    with pytest.raises(ConfigError, match=r"cube.*none, sqrt, cbrt, log"):
        ChannelStandardizer("cube")
