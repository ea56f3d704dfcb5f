"""What every reducer must do, whatever its kind: each file of `configs/reducer` is tested."""

import io

import pytest
import torch
from sklearn import decomposition

from fre_lightning.config import build
from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import GradientReducer, NotFittedError
from tests.configs import compose_config, names


@pytest.fixture(params=names("reducer"), scope="module")
def make(request):
    """Build a reducer that is trained for a moment, if at all."""
    node = compose_config(f"reducer={request.param}").reducer

    def build_with(n_components=4):
        short = {"epochs": 3, "batch_size": 8}
        return build(node, n_components=n_components, **{k: short[k] for k in short if k in node})

    return build_with


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


@pytest.mark.parametrize("share", [0.5, 0.8, 0.97])
@pytest.mark.parametrize("n_columns", [12, 50])  # fewer and more than images
def test_rank_from_the_share_of_variance_is_scikit_learns(make, features, share, n_columns):
    chosen = features[:, :n_columns]
    oracle = decomposition.PCA(share, svd_solver="full").fit(chosen.double().numpy())
    assert fit(make(share), chosen).n_components == oracle.n_components_


def test_more_components_than_images(make, features):
    with pytest.raises(ConfigError, match="more than the 19 directions"):
        fit(make(25), features)
