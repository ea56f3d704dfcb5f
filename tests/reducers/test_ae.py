import numpy as np
import pytest
import torch

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import PCA, Autoencoder, TiedAutoencoder

KINDS = [Autoencoder, TiedAutoencoder]


def make_features(n=80, d=400, seed=0):
    """Features as networks give them: not centred, more than images, a decaying spectrum."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n, d)) * (np.arange(1, n + 1) ** -0.8)[:, None]
    return torch.from_numpy(rng.normal(size=(n, n)) @ mixing / 10 + rng.uniform(0, 2, d)).float()


def train(reducer, *copies):
    torch.manual_seed(0)
    reducer.fit(FeatureMatrix(copies, n_copies=len(copies)))
    losses = [reducer.training_epoch().item() for _ in range(reducer.epochs)]
    reducer.finish()
    return losses


def residual(reducer, features):
    return (features - reducer(features)).square().sum(dim=1).mean().item()


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_epochs_end_near_pcas_optimum(kind):
    features = make_features()
    pca = PCA(20)
    pca.fit(FeatureMatrix([features]))
    reducer = kind(20, epochs=250, lr=1e-3, batch_size=8, space="span")
    losses = train(reducer, features)
    optimum = residual(pca, features)
    assert optimum <= residual(reducer, features) * (1 + 1e-5)
    assert residual(reducer, features) <= 1.15 * optimum
    assert losses[-1] * features.shape[1] == pytest.approx(residual(reducer, features), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_training_in_all_features_converges_to_the_same_error(kind):
    features = make_features(n=30, d=60)
    features -= features.mean(dim=0)
    errors = []
    for space in ("span", "features"):
        reducer = kind(5, epochs=4000, lr=1e-3, batch_size=30, space=space)
        train(reducer, features)
        errors.append(residual(reducer, features))
    assert errors[1] == pytest.approx(errors[0], rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_what_training_held_is_gone_after_it(kind):
    reducer = kind(3, epochs=1, lr=1e-3, batch_size=8, space="span")
    train(reducer, make_features(12, 20))
    assert list(reducer.modules()) == [reducer]
    assert reducer.encoder_weight.shape == (3, 20)


def test_the_decoder_is_the_encoder_transposed_only_if_tied():
    for kind in KINDS:
        reducer = kind(3, epochs=2, lr=1e-3, batch_size=8, space="span")
        train(reducer, make_features(12, 20))
        same = torch.equal(reducer.encoder_weight, reducer.decoder_weight)
        assert same == (kind is TiedAutoencoder)


@pytest.mark.parametrize("wrong", [{"space": "moon"}, {"epochs": 0}, {"lr": 0.0}])
def test_settings_out_of_range(wrong):
    settings = {"epochs": 1, "lr": 1e-3, "batch_size": 8, "space": "span"} | wrong
    with pytest.raises(ConfigError, match=f"reducer.{next(iter(wrong))}"):
        Autoencoder(0.97, **settings)


def test_an_autoencoder_learns_from_copies():
    items = make_features(n=40)
    shift = make_features(n=40, seed=1)
    shift -= shift.mean(dim=0)
    reducer = TiedAutoencoder(20, epochs=250, lr=1e-3, batch_size=8, space="span")
    pca = PCA(20)
    train(reducer, items, items + shift)
    pca.fit(FeatureMatrix([items, items + shift]))
    both = torch.cat([items, items + shift])
    assert residual(reducer, both) < 1.5 * residual(pca, both)
