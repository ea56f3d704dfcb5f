import pytest
import torch
from sklearn.decomposition import PCA

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.cross_fit import draw_folds, held_out_residuals
from fre_lightning.reducers.rank import MAX_FROM_COPIES, find_rank, rank_of_refits
from fre_lightning.reducers.subspace import find_subspace

TRUE_RANK = 6


def draw(n, d, noise=0.3):
    """Six directions of equal strength, and noise."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.linalg.qr(torch.randn(d, TRUE_RANK, generator=generator)).Q.T * d**0.5
    signal = torch.randn(n, TRUE_RANK, generator=generator) @ mixing / 4
    return signal + noise * torch.randn(n, d, generator=generator)


@pytest.mark.parametrize(("n", "d"), [(40, 90), (120, 30)])
def test_residuals_are_those_of_scikit_learn_without_the_fold(n, d):
    features = draw(n, d)
    folds = draw_folds(n, 4)
    residuals = held_out_residuals(find_subspace(FeatureMatrix([features])), folds)
    for fold in range(4):
        kept, held_out = features[folds != fold].numpy(), features[folds == fold].numpy()
        for k in (1, 5, 12):
            pca = PCA(k, svd_solver="full").fit(kept)
            error = held_out - pca.inverse_transform(pca.transform(held_out))
            expected = torch.from_numpy((error**2).sum(axis=1)).double()
            torch.testing.assert_close(residuals[folds == fold, k], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(60, 200), (400, 30)])
@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_held_out_images_find_the_true_rank(n, d, noise):
    rank = find_rank("held_out", find_subspace(FeatureMatrix([draw(n, d, noise)])))
    assert TRUE_RANK <= rank <= TRUE_RANK + 1


@pytest.mark.parametrize("wrong", ["best", "0.97"])
def test_other_words_are_refused(wrong):
    with pytest.raises(ConfigError, match="held_out"):
        find_rank(wrong, find_subspace(FeatureMatrix([draw(10, 20)])))


def test_two_images_are_too_few():
    with pytest.raises(ConfigError, match="at least 3"):
        find_rank("held_out", find_subspace(FeatureMatrix([draw(2, 20)])))


def test_copies_take_no_more_components_than_a_detector_should_hold():
    features = torch.randn(400, 600, generator=torch.Generator().manual_seed(0))
    own, copied = (FeatureMatrix([features], n_copies=n) for n in (1, 5))
    needed = find_rank(0.97, find_subspace(own))
    assert needed > MAX_FROM_COPIES
    assert find_rank(0.97, find_subspace(copied)) == MAX_FROM_COPIES
    assert find_rank(280, find_subspace(copied)) == 280  # asked for
    assert rank_of_refits(0.97, MAX_FROM_COPIES, 5) == MAX_FROM_COPIES
    assert rank_of_refits(0.97, MAX_FROM_COPIES, 1) == 0.97
    assert rank_of_refits(0.97, 40, 5) == 0.97
    assert rank_of_refits("held_out", 40, 1) == 40
