import numpy as np
import pytest
import torch
from sklearn import decomposition

from fre_lightning.errors import ConfigError, DatasetError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.cross_fit import held_out_errors
from fre_lightning.reducers.subspace import find_subspace
from fre_lightning.scoring import Calibration
from fre_lightning.scoring.threshold import find_threshold

SHAPE = (4, 3, 2)


def draw_features(n):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 24, generator=generator)
    features = torch.randn(n, 5, generator=generator) @ mixing
    return features + 0.1 * torch.randn(n, 24, generator=generator)


def calibrate(n, scoring):
    calibration = Calibration(4, "none")
    subspace = find_subspace(FeatureMatrix([draw_features(n)]))
    positions = torch.arange(24) % 6
    maps = held_out_errors(subspace, 0.97, positions, calibration.draw_folds(n))
    calibration.fit([maps.view(n, *SHAPE[1:])], scoring)
    return calibration


def refit_plainly(features, folds):
    """Error maps `(N, h, w)` of images by a PCA of the images of the other folds."""
    maps = np.empty((len(features), *SHAPE[1:]))
    for fold in np.unique(folds):
        pca = decomposition.PCA(0.97, svd_solver="full").fit(features[folds != fold])
        held_out = features[folds == fold]
        error = held_out - pca.inverse_transform(pca.transform(held_out))
        maps[folds == fold] = (error**2).reshape(-1, *SHAPE).sum(axis=1)
    return maps


@pytest.mark.parametrize("n", [14, 40])  # fewer and more images than features
def test_published_scores_are_those_of_scikit_learn_without_the_fold(n, paper):
    calibration = calibrate(n, paper)
    maps = refit_plainly(draw_features(n).numpy(), Calibration(4, "none").draw_folds(n).numpy())
    np.testing.assert_allclose(calibration.image_scores, maps.sum(axis=(1, 2)), rtol=1e-3)
    np.testing.assert_allclose(calibration.map_maxima, maps.max(axis=(1, 2)), rtol=1e-3)


@pytest.mark.parametrize("n", [14, 40])
def test_highest_values_over_the_normal_level_are_those_of_scikit_learn(n, make):
    calibration = calibrate(n, make("max", position_norm=0.0))
    maps = refit_plainly(draw_features(n).numpy(), Calibration(4, "none").draw_folds(n).numpy())
    expected = maps.max(axis=(1, 2)) / maps.mean()  # 0: positions count as they are
    np.testing.assert_allclose(calibration.image_scores, expected, rtol=1e-3)
    np.testing.assert_allclose(calibration.map_maxima, expected, rtol=1e-3)


def test_thresholds_are_scores_of_their_own_kind(scoring, caplog):
    calibration = calibrate(40, scoring)
    thresholds = calibration.thresholds(0.1)
    assert thresholds.image in calibration.image_scores
    assert thresholds.pixel in calibration.map_maxima
    assert not caplog.records
    assert calibration.thresholds(0.001).image > calibration.image_scores.max()
    assert "takes 999 good images to observe and there are 40" in caplog.text


def test_scores_are_stored_and_rates_stay_free(paper):
    calibration, other = calibrate(40, paper), Calibration(4, "none")
    other.load_state_dict(calibration.state_dict())
    for rate in (0.05, 0.2):
        assert other.thresholds(rate) == calibration.thresholds(rate)
    assert calibration.thresholds(0.2).image < calibration.thresholds(0.05).image


def test_without_enough_images_there_is_no_threshold(caplog):
    calibration = Calibration(4, "none")
    assert calibration.draw_folds(2) is None
    assert "With 2 training images" in caplog.text
    assert calibration.thresholds(0.05) is None


def test_three_images_suffice(paper):
    assert len(calibrate(3, paper).image_scores) == 3


def test_one_fold_is_refused():
    with pytest.raises(ConfigError, match="n_folds"):
        Calibration(1, "none")


def test_a_refit_scores_each_image_by_what_the_others_teach(make):
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(7, 5, 4, generator=generator) + 0.1
    scoring, calibration = make("sum", position_norm=0.0), Calibration(10, "none")
    calibration.refit([maps], scoring)
    for i in range(7):
        level = torch.cat([maps[:i], maps[i + 1 :]]).mean()  # position_norm=0: of all positions
        assert calibration.image_scores[i] == pytest.approx(float(maps[i].sum() / level))
        assert calibration.map_maxima[i] == pytest.approx(float(maps[i].max() / level))
    assert float(scoring.normalize([maps]).mean()) == pytest.approx(1)


def test_after_a_refit_no_more_images_than_promised_exceed_the_threshold(make):
    """Images divided by their own mean would score too low, and stop too many later ones."""
    generator = torch.Generator().manual_seed(2)
    held_out, own = [], []
    for _ in range(60):
        maps = torch.rand(30, 4, 4, generator=generator) ** 4
        scoring, calibration = make("max", position_norm=1.0), Calibration(10, "none")
        calibration.refit([maps[:9]], scoring)
        scores = scoring.image_score(scoring.normalize([maps]))
        for shares, normal in ((held_out, calibration.image_scores), (own, scores[:9])):
            shares.append(float((scores[9:] > find_threshold(normal, 0.1)).double().mean()))
    assert np.mean(held_out) < 0.1 < np.mean(own)


def test_a_refit_takes_three_images(make):
    with pytest.raises(DatasetError, match="at least 3 good images; there are 2"):
        Calibration(10, "none").refit([torch.rand(2, 3, 3)], make())
