"""What every reducer must do, whatever its kind."""

import io

import pytest
import torch

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import (
    PCA,
    Autoencoder,
    GradientReducer,
    NotFittedError,
    TiedAutoencoder,
)

GRADIENT = {"epochs": 3, "lr": 1e-3, "batch_size": 8, "space": "span"}
MAKERS = {
    "pca": lambda n=4: PCA(n),
    "tae": lambda n=4: TiedAutoencoder(n, **GRADIENT),
    "ae": lambda n=4: Autoencoder(n, **GRADIENT),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture
def features():
    return torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) * 3 + 7


def fit(reducer, features):
    torch.manual_seed(0)
    reducer.fit(FeatureMatrix([features]))
    if isinstance(reducer, GradientReducer):
        for _ in range(reducer.epochs):
            reducer.training_epoch()
        reducer.finish()
    return reducer


def test_unfitted(make):
    assert not make().is_fitted
    with pytest.raises(NotFittedError, match="not fitted"):
        make()(torch.ones(1, 50))


def test_shapes_and_dtypes(make, features):
    reducer = fit(make(), features)
    encoded = reducer.encode(features)
    assert encoded.shape == (20, 4)
    assert reducer.decode(encoded).shape == (20, 50)
    assert reducer(features).dtype == torch.float32
    assert reducer.n_components == 4
    assert not any(p.requires_grad for p in reducer.parameters())


def test_input_is_unchanged_and_a_refit_forgets(make, features):
    before = features.clone()
    reducer = fit(make(), features * 2 - 1)
    fit(reducer, features)
    torch.testing.assert_close(features, before, rtol=0, atol=0)
    torch.testing.assert_close(reducer(features), fit(make(), features)(features))


def test_a_batch_is_one_by_one(make, features):
    reducer = fit(make(), features)
    one_by_one = torch.cat([reducer(row[None]) for row in features])
    torch.testing.assert_close(reducer(features), one_by_one)


def test_checkpoint_round_trip(make, features):
    reducer, stream = fit(make(), features), io.BytesIO()
    torch.save(reducer.state_dict(), stream)
    stream.seek(0)
    fresh = make()
    fresh.load_state_dict(torch.load(stream, weights_only=True))
    torch.testing.assert_close(fresh(features), reducer(features), rtol=0, atol=0)


def test_rank_from_the_share_of_variance_is_pcas(make, features):
    assert fit(make(0.8), features).n_components == fit(PCA(0.8), features).n_components


def test_more_components_than_images(make, features):
    with pytest.raises(ConfigError, match="more than the 19 directions"):
        fit(make(25), features)
