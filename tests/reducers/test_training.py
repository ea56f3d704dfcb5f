import pytest
import torch

from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import Autoencoder
from tests.reducers.test_ae import KINDS, make_features


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_by_hand_is_autograds(kind):
    features = make_features(12, 20)
    reducer = kind(3, epochs=1, lr=1e-3, batch_size=8, space="features")
    reducer.fit(FeatureMatrix([features]))
    state = reducer.training_state
    state.flat.copy_(torch.randn(len(state.flat)) / 5)
    loss = state.backward(features)
    views = {name: view.clone() for name, view in state.weights._asdict().items()}
    if reducer.tied:
        del views["decoder"]
    leaves = {name: view.requires_grad_() for name, view in views.items()}
    encoded = features @ leaves["encoder"].T + leaves["encoder_bias"]
    decoder = leaves.get("decoder", leaves["encoder"])
    error = encoded @ decoder + leaves["decoder_bias"] - features
    expected = error.square().mean()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    gradient = torch.cat([leaf.grad.flatten() for leaf in leaves.values()])
    torch.testing.assert_close(state.gradient, gradient, rtol=1e-4, atol=1e-6)


def test_a_step_is_adams():
    features = make_features(12, 20)
    reducer = Autoencoder(3, epochs=1, lr=1e-3, batch_size=8, space="span")
    reducer.fit(FeatureMatrix([features]))
    state = reducer.training_state
    parameter = torch.nn.Parameter(state.flat.clone())
    optimizer = torch.optim.Adam([parameter], lr=1e-2)
    for batch in (features[:5, :11], features[5:, :11]):
        state.backward(batch.contiguous())
        parameter.grad = state.gradient.clone()
        optimizer.step()
        state.step(1e-2)
    torch.testing.assert_close(state.flat, parameter.data)


@pytest.mark.parametrize("n_copies", [1, 3])
def test_an_epoch_sees_each_item_once_as_any_of_its_copies(n_copies):
    items = make_features(n=20, d=30)
    copies = [items + copy for copy in range(n_copies)]
    reducer = Autoencoder(5, epochs=1, lr=1e-3, batch_size=8, space="features")
    reducer.fit(FeatureMatrix(copies, n_copies=n_copies))
    rows = torch.cat(copies)
    seen = set()
    for _ in range(20):
        batches = list(reducer.training_state.shuffled_batches(8))
        assert [len(batch) for batch in batches] == [8, 8, 4]
        index = torch.cdist(torch.cat(batches), rows).argmin(dim=1)
        assert torch.equal((index % 20).sort().values, torch.arange(20))
        seen |= set((index // 20).tolist())
    assert seen == set(range(n_copies))
