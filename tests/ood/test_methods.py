"""Each method against the formula of its paper, written plainly in NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from scipy.stats import spearmanr
from sklearn import decomposition
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors

from fre_lightning.errors import ConfigError, DatasetError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.ood.distances import Mahalanobis, NearestNeighbours, ViM, default_rank
from fre_lightning.ood.fre import FRE, FREByClass
from fre_lightning.ood.logits import Energy, MaximumLogit, MaximumSoftmax, ReAct
from fre_lightning.ood.method import Head, Known
from fre_lightning.reducers import PCA, Autoencoder, TiedAutoencoder

N, D, C = 120, 12, 4


@pytest.fixture(scope="module")
def data():
    """Features, logits and labels of known images, a head, and 30 other images' features."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % C
    centres, mix = 3 * rng.normal(size=(C, D)), rng.normal(size=(D, D)) / 3
    x = np.maximum(centres[labels] + rng.normal(size=(N, D)) @ mix, 0).astype(np.float32)
    w, b = rng.normal(size=(C, D)).astype(np.float32), rng.normal(size=C).astype(np.float32)
    test = np.maximum(3 * rng.normal(size=(30, D)), 0).astype(np.float32)
    return {"x": x, "y": labels, "w": w, "b": b, "test": test, "logits": test @ w.T + b}


def fit(method, data):
    head = Head(torch.tensor(data["w"]), torch.tensor(data["b"]))
    logits = torch.tensor(data["x"] @ data["w"].T + data["b"])
    # Two shards, read in blocks of 50 rows.
    shards = [data["x"][:70], data["x"][70:]]
    features = FeatureMatrix(shards, block_bytes=50 * 4 * D)
    method.fit(Known(features, logits, torch.tensor(data["y"]), head))
    return method


def score(method, data):
    with torch.inference_mode():
        return method(torch.tensor(data["test"]), torch.tensor(data["logits"])).numpy()


def test_maximum_softmax_probability(data):
    np.testing.assert_allclose(
        score(MaximumSoftmax(), data), 1 - softmax(data["logits"], axis=1).max(1), atol=1e-6
    )


def test_maximum_softmax_probability_keeps_its_digits():
    logits = torch.tensor([[40.0, 0.0, 0.0], [41.0, 0.0, 0.0]])
    assert MaximumSoftmax()(logits, logits).tolist() == pytest.approx(
        [2 * np.exp(-40), 2 * np.exp(-41)]
    )


def test_maximum_logit(data):
    np.testing.assert_array_equal(score(MaximumLogit(), data), -data["logits"].max(1))


@pytest.mark.parametrize("t", [1.0, 2.5])
def test_energy(data, t):
    expected = -t * np.log(np.exp(data["logits"] / t).sum(1))
    np.testing.assert_allclose(score(Energy(t), data), expected, rtol=1e-5)


def test_react(data):
    limit = np.percentile(data["x"], 90)
    logits = np.minimum(data["test"], limit) @ data["w"].T + data["b"]
    found = score(fit(ReAct(90.0), data), data)
    np.testing.assert_allclose(found, -logsumexp(logits, axis=1), rtol=1e-5)


def test_react_with_nothing_cut_off_is_energy(data):
    rows = dict(data, test=data["x"], logits=data["x"] @ data["w"].T + data["b"])
    np.testing.assert_allclose(
        score(fit(ReAct(100.0), data), rows), score(Energy(1.0), rows), rtol=1e-4, atol=1e-4
    )


def test_mahalanobis(data):
    x, y = data["x"].astype(np.float64), data["y"]
    means = np.stack([x[y == c].mean(0) for c in range(C)])
    covariance = sum((r - means[c])[:, None] * (r - means[c]) for r, c in zip(x, y, strict=True))
    inverse = np.linalg.inv(covariance / N)
    differences = data["test"][:, None] - means
    expected = np.einsum("ncd,de,nce->nc", differences, inverse, differences).min(1)
    np.testing.assert_allclose(score(fit(Mahalanobis(), data), data), expected, rtol=1e-4)


def test_mahalanobis_leaves_out_features_that_do_not_vary(data):
    dead = {key: np.pad(data[key], ((0, 0), (0, 2))) for key in ("x", "test", "w")}
    found = score(fit(Mahalanobis(), data | dead), data | dead)
    np.testing.assert_allclose(found, score(fit(Mahalanobis(), data), data), rtol=1e-4)


def test_mahalanobis_of_more_features_than_images(data):
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(D, 3 * N)).astype(np.float32)
    noise = {key: rng.normal(size=(len(data[key]), 3 * N)) for key in ("x", "test")}
    wide = {key: (data[key] @ mixing + noise[key]).astype(np.float32) for key in noise}
    x, y = wide["x"].astype(np.float64), data["y"]
    means = np.stack([x[y == c].mean(0) for c in range(C)])
    centred = x - means[y]
    inverse = np.linalg.pinv(centred.T @ centred / N, rcond=1e-9, hermitian=True)
    differences = wide["test"][:, None] - means
    expected = np.einsum("ncd,de,nce->nc", differences, inverse, differences).min(1)
    head = {"w": np.zeros((C, 3 * N), np.float32)}
    method = fit(Mahalanobis(), data | wide | head)
    assert method.whitening.shape == (3 * N, N - C)
    np.testing.assert_allclose(score(method, data | wide), expected, rtol=1e-3)


def test_nearest_neighbours(data):
    def normalize(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    neighbours = NearestNeighbors(n_neighbors=7).fit(normalize(data["x"]))
    expected = neighbours.kneighbors(normalize(data["test"]))[0][:, -1]
    found = score(fit(NearestNeighbours(7), data), data)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_vim(data):
    w, b, x = (data[key].astype(np.float64) for key in ("w", "b", "x"))
    origin = -np.linalg.pinv(w) @ b
    covariance = EmpiricalCovariance(assume_centered=True).fit(x - origin).covariance_
    values, vectors = np.linalg.eig(covariance)
    residual = vectors[:, np.argsort(-values.real)[5:]].real
    known_logits = x @ w.T + b
    alpha = known_logits.max(1).mean() / np.linalg.norm((x - origin) @ residual, axis=1).mean()
    virtual = alpha * np.linalg.norm((data["test"] - origin) @ residual, axis=1)
    energy = logsumexp(data["logits"], axis=1)
    found = score(fit(ViM(5), data), data)
    np.testing.assert_allclose(found, virtual - energy, rtol=1e-3, atol=1e-3)
    probability = softmax(np.column_stack([data["logits"], virtual]), axis=1)[:, -1]
    assert spearmanr(found, probability).statistic > 0.999


@pytest.mark.parametrize(("n_features", "rank"), [(2048, 1000), (768, 512), (512, 256)])
def test_vims_dimension(n_features, rank):
    assert default_rank(n_features) == rank


def sklearn_error(rows, test, share):
    pca = decomposition.PCA(share, svd_solver="full").fit(rows.astype(np.float64))
    back = pca.inverse_transform(pca.transform(test.astype(np.float64)))
    return ((test - back) ** 2).sum(1)


def test_fre_with_one_subspace(data):
    found = score(fit(FRE(PCA(0.9)), data), data)
    np.testing.assert_allclose(found, sklearn_error(data["x"], data["test"], 0.9), rtol=1e-3)


def test_fre_with_a_subspace_for_each_class(data):
    x, y, test = data["x"], data["y"], data["test"]
    expected = np.min([sklearn_error(x[y == c], test, 0.9) for c in range(C)], axis=0)
    method = fit(FREByClass(PCA(0.9)), data)
    np.testing.assert_allclose(score(method, data), expected, rtol=1e-3)
    assert len(method.n_components) == C


@pytest.mark.parametrize("kind", [Autoencoder, TiedAutoencoder])
def test_autoencoders_come_near_to_the_optimum(data, kind):
    torch.manual_seed(0)
    found = score(fit(FRE(kind(0.9, 200, 1e-2, 32, "span")), data), data)
    assert spearmanr(found, score(fit(FRE(PCA(0.9)), data), data)).statistic > 0.95


@pytest.mark.parametrize(
    "make",
    [
        lambda: ReAct(90.0),
        Mahalanobis,
        lambda: NearestNeighbours(3),
        lambda: ViM(5),
        lambda: FRE(PCA(0.9)),
        lambda: FREByClass(PCA(0.9)),
        lambda: FREByClass(Autoencoder(0.9, 2, 1e-3, 16, "span")),
    ],
)
def test_a_state_dict_holds_what_was_learnt(data, make):
    fitted, restored = fit(make(), data), make()
    restored.load_state_dict(fitted.state_dict())
    np.testing.assert_array_equal(score(restored, data), score(fitted, data))


def test_mistakes(data):
    with pytest.raises(ConfigError, match=r"knn\.k=121 must lie between 1 and the 120"):
        fit(NearestNeighbours(121), data)
    with pytest.raises(ConfigError, match="n_components=12 must be less than the 12"):
        fit(ViM(12), data)
    with pytest.raises(ConfigError, match="percentile=0"):
        ReAct(0)
    one = np.where(np.arange(N) == 3, 3, np.arange(N) % 3)
    with pytest.raises(DatasetError, match="Class number 3 has 1 images"):
        fit(FREByClass(PCA(0.9)), data | {"y": one})
