"""The randomised subspace against scikit-learn's PCA of the same features."""

import numpy as np
import pytest
import torch
from sklearn import decomposition
from sklearn.metrics import roc_auc_score

from fre_lightning.errors import ConfigError, FeatureError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers import PCA, TiedAutoencoder, krylov, krylov_space, subspace
from fre_lightning.reducers.axes import choose_rank
from fre_lightning.reducers.cross_fit import draw_folds, held_out_errors
from fre_lightning.reducers.gram import GramSubspace
from fre_lightning.reducers.rank import find_rank
from fre_lightning.reducers.subspace import find_subspace
from tests.reducers.test_rank import TRUE_RANK
from tests.reducers.test_rank import draw as draw_signal

D = 400
POSITIONS = torch.arange(D) % 5


@pytest.fixture(autouse=True)
def _many_images(monkeypatch):
    """Let some hundred images be many."""
    monkeypatch.setattr(subspace, "_MAX_EXACT", 20)
    monkeypatch.setattr(krylov_space, "BLOCK", 16)
    monkeypatch.setattr(krylov_space, "READ_BYTES", 4 * D * 50)
    monkeypatch.setattr(krylov, "READ_BYTES", 4 * D * 50)


def draw(n, seed, d=D):
    """Features whose variances fall as those of a network's do, far from the origin."""
    mixing = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0))).Q
    deviations = 1 / (torch.arange(d) + 4.0)
    values = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return values * deviations @ mixing + 3


def assert_close_scores(scores, expected, tolerance=2e-3):
    """The mean; of so few axes, each one near the last is a large part of a score."""
    difference = scores / expected - 1
    assert abs(difference.mean()) < tolerance
    assert difference.std() < 15 * tolerance


def oracle(n_components, features):
    return decomposition.PCA(n_components, svd_solver="full").fit(features.double().numpy())


def oracle_scores(pca, features):
    features = features.double().numpy()
    error = features - pca.inverse_transform(pca.transform(features))
    return (error**2).sum(axis=1)


@pytest.mark.parametrize("n", [300, 700])  # fewer and more images than features
@pytest.mark.parametrize(("missing", "tolerance"), [(0.5, 1e-3), (0.3, 1e-4)])
def test_scores_are_scikit_learns(n, missing, tolerance, monkeypatch):
    monkeypatch.setattr(krylov_space, "_MAX_MISSING", missing)
    train, good, defective = draw(n, 1), draw(300, 2), draw(300, 3)
    defective[:, :40] += 0.006 * torch.randn(300, 40, generator=torch.Generator().manual_seed(4))
    reducer = PCA(0.97)
    assert isinstance(reducer.fit(FeatureMatrix([train[:7], train[7:]])), krylov.KrylovSubspace)
    test = torch.cat([good, defective])
    scores = (test - reducer(test)).double().square().sum(dim=1).numpy()
    pca = oracle(0.97, train)
    expected = oracle_scores(pca, test)
    np.testing.assert_allclose(reducer.mean, pca.mean_, rtol=1e-5)
    assert pca.n_components_ <= reducer.n_components <= 1.02 * pca.n_components_
    assert_close_scores(scores, expected, tolerance)
    labels = np.arange(600) >= 300
    auroc = roc_auc_score(labels, expected)
    assert 0.6 < auroc < 0.99
    assert roc_auc_score(labels, scores) == pytest.approx(auroc, abs=tolerance)


def test_leading_axes_and_all_variance_are_exact():
    features = draw(500, 1)
    found = find_subspace(FeatureMatrix([features]), n_components=20)
    pca = oracle(20, features)
    np.testing.assert_allclose(found.variances[:15], pca.explained_variance_[:15], rtol=1e-3)
    np.testing.assert_allclose(found.variances[:20], pca.explained_variance_, rtol=0.03)
    axes = found.lift(torch.eye(20, len(found.variances))).numpy()
    cosines = np.linalg.svd(axes[:10] @ pca.components_.T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-4)
    total = float(features.double().var(dim=0).sum())
    assert float(found.variances.sum()) + found.left_out == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("share", [0.8, 0.97, 0.995])
def test_the_wanted_share_of_the_variance_is_reached(share):
    features = draw(300, 1)
    found = find_subspace(FeatureMatrix([features]), n_components=share)
    total = float(features.double().var(dim=0).sum())
    rank = choose_rank(share, found.variances, found.left_out)
    assert float(found.variances[: rank - 1].sum()) < share * total
    axes = found.lift(torch.eye(rank, len(found.variances)))
    assert float((features @ axes.T).double().var(dim=0).sum()) >= share * total * (1 - 1e-6)


def test_a_second_fit_is_the_same():
    first, second = (find_subspace(FeatureMatrix([draw(300, 1)])) for _ in range(2))
    assert torch.equal(first.variances, second.variances)
    weights = torch.eye(len(first.variances))
    assert torch.equal(first.lift(weights), second.lift(weights))


def test_many_blocks_are_as_one(monkeypatch):
    features = draw(300, 1)
    many = find_subspace(FeatureMatrix([features[:1], features[1:123], features[123:]]))
    monkeypatch.setattr(krylov_space, "READ_BYTES", features.nbytes)
    one = find_subspace(FeatureMatrix([features]))
    torch.testing.assert_close(many.mean, one.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(many.variances[:50], one.variances[:50], rtol=1e-3, atol=0)
    assert many.left_out == pytest.approx(one.left_out, rel=0.02)


def test_coordinates_are_an_isometry_of_the_span():
    features = draw(300, 1)
    found = find_subspace(FeatureMatrix([features[:100], features[100:]]))
    axes = found.lift(torch.eye(len(found.variances)))
    torch.testing.assert_close(axes @ axes.T, torch.eye(len(axes)), atol=2e-3, rtol=0)
    expected = (features - features.mean(dim=0)) @ axes.T
    torch.testing.assert_close(found.coordinates(), expected, atol=1e-4, rtol=1e-4)
    variances = found.coordinates().double().var(dim=0)
    total = float(features.double().var(dim=0).sum())
    torch.testing.assert_close(variances, found.variances, rtol=0, atol=1e-4 * total)
    rank = choose_rank(0.97, found.variances, found.left_out)
    torch.testing.assert_close(variances[:rank], found.variances[:rank], rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("n_components", "missing", "kept", "tolerance"),
    [(0.97, 0.5, 1.6, 2e-3), (0.97, 0.3, 1.6, 1e-3), (0.97, 0.2, 3, 1e-4), (30, 0.5, 1.6, 1e-3)],
)
@pytest.mark.parametrize("n_scored", [300, 211])
def test_held_out_images_are_unknown_to_their_refit(
    n_components, n_scored, missing, kept, tolerance, monkeypatch
):
    monkeypatch.setattr(krylov_space, "_MAX_MISSING", missing)
    monkeypatch.setattr(krylov_space, "_KEPT", kept)
    features, folds = draw(300, 1), draw_folds(300, 4)
    found = find_subspace(FeatureMatrix([features]), n_components=n_components)
    errors = held_out_errors(found, n_components, POSITIONS, folds, n_scored).sum(dim=1).numpy()
    expected = np.empty(300)
    for fold in range(4):
        pca = oracle(n_components, features[folds != fold])
        expected[folds == fold] = oracle_scores(pca, features[folds == fold])
    assert_close_scores(errors, expected[:n_scored], tolerance)


class CountedRows:
    """An array that counts how many of its rows are read."""

    def __init__(self, array):
        self.array, self.shape, self.n_read = array.numpy(), array.shape, 0

    def __getitem__(self, block):
        self.n_read += len(self.array[block])
        return self.array[block]


def test_refits_read_only_the_images_that_they_hold_out(monkeypatch):
    rows, folds = CountedRows(draw(300, 1)), draw_folds(300, 4)
    found = find_subspace(FeatureMatrix([rows]), n_components=30)
    monkeypatch.setattr(krylov.KrylovSubspace, "_stretch", lambda *_: 1.0)
    rows.n_read = 0
    held_out_errors(found, 30, POSITIONS, folds)
    assert rows.n_read == 2 * 300  # each once to be taken out, once to be scored


def test_errors_of_groups_are_those_of_the_exact_solution():
    features, folds = FeatureMatrix([draw(300, 1)]), draw_folds(300, 4)
    exact = held_out_errors(GramSubspace.of(features, torch.device("cpu")), 30, POSITIONS, folds)
    errors = held_out_errors(find_subspace(features, n_components=30), 30, POSITIONS, folds)
    torch.testing.assert_close(errors.mean(dim=0), exact.mean(dim=0), rtol=1e-3, atol=0)


def test_held_out_images_find_the_true_rank():
    features = FeatureMatrix([draw_signal(400, 100)])
    rank = find_rank("held_out", find_subspace(features, n_components="held_out"))
    assert TRUE_RANK <= rank <= TRUE_RANK + 1


def test_the_loss_of_an_autoencoder_counts_what_lies_outside():
    features = draw(300, 1)
    reducer = TiedAutoencoder(10, epochs=1, lr=1e-12, batch_size=300, space="span")
    reducer.fit(FeatureMatrix([features]))
    loss = float(reducer.training_epoch())
    reducer.finish()
    assert loss == pytest.approx(float((features - reducer(features)).square().mean()), rel=1e-2)


def test_what_was_left_out_counts_in_an_update():
    reducer, features = PCA(0.9), draw(500, 1)
    reducer.fit(FeatureMatrix([features]))
    total = float(features.double().var(dim=0).sum())
    assert float(reducer.variances.sum() + reducer.rest) == pytest.approx(total, rel=1e-4)


def test_a_share_counts_of_what_was_left_out():
    variances = torch.tensor([6.0, 3.0], dtype=torch.float64)
    assert [choose_rank(share, variances, left_out=1.0) for share in (0.5, 0.59, 0.61)] == [1, 1, 2]


@pytest.mark.parametrize("n_components", [-1, 1.5, True])
def test_meaningless_rank(n_components):
    with pytest.raises(ConfigError, match="neither a share"):
        find_subspace(FeatureMatrix([draw(30, 1)]), n_components=n_components)


def test_more_components_than_images():
    with pytest.raises(ConfigError, match="more than the 29 directions"):
        find_subspace(FeatureMatrix([draw(30, 1)]), n_components=30)


def test_all_axes_there_are():
    features = draw(60, 1)
    found = find_subspace(FeatureMatrix([features]), n_components=59)
    np.testing.assert_allclose(found.variances, oracle(59, features).explained_variance_, rtol=1e-3)


def test_fewer_directions_than_a_block():
    base = draw(5, 1)
    features = FeatureMatrix([base.repeat(10, 1)])
    variances = find_subspace(features, n_components=0.999).variances
    assert int((variances > variances[0] * 1e-5).sum()) == 4


def test_copies_of_one_image():
    with pytest.raises(FeatureError, match="copies of one image"):
        find_subspace(FeatureMatrix([torch.ones(50, 80)]))
