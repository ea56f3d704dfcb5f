import pytest
import torch

from fre_lightning.errors import ConfigError
from fre_lightning.features.matrix import FeatureMatrix
from fre_lightning.reducers.cross_fit import held_out_error_maps
from fre_lightning.reducers.subspace import find_subspace
from fre_lightning.scoring.calibration import Calibration
from tests.scoring.test_rule import make, paper

SHAPE = (4, 3, 2)


def find(n=40):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 24, generator=generator)
    features = torch.randn(n, 5, generator=generator) @ mixing
    noisy = features + 0.1 * torch.randn(n, 24, generator=generator)
    return find_subspace(FeatureMatrix([noisy]))


def calibrate(n=40, scoring=None):
    calibration = Calibration(4)
    folds = calibration.draw_folds(n)
    maps = held_out_error_maps(find(n), 0.97, SHAPE, folds)
    calibration.fit([maps], scoring or paper())
    return calibration, maps


@pytest.mark.parametrize("scoring", [paper(), make()])
def test_calibration_scores_are_those_of_held_out_images(scoring):
    calibration, maps = calibrate(scoring=scoring)
    normalized = scoring.normalize([maps])
    torch.testing.assert_close(calibration.image_scores, scoring.image_score(normalized))
    torch.testing.assert_close(calibration.map_maxima, normalized.flatten(1).amax(1))
    thresholds = calibration.thresholds(0.1)
    assert thresholds.image in calibration.image_scores
    assert thresholds.pixel in calibration.map_maxima
    assert not thresholds.is_extrapolated
    assert calibration.thresholds(0.001).is_extrapolated


def test_scores_are_stored_and_rates_stay_free():
    (calibration, _), other = calibrate(), Calibration(4)
    other.load_state_dict(calibration.state_dict())
    for rate in (0.05, 0.2):
        assert other.thresholds(rate) == calibration.thresholds(rate)
    assert calibration.thresholds(0.2).image < calibration.thresholds(0.05).image


def test_without_enough_images_there_is_no_threshold(caplog):
    calibration = Calibration(4)
    assert calibration.draw_folds(2) is None
    assert "With 2 training images" in caplog.text
    assert calibration.thresholds(0.05) is None


def test_three_images_suffice():
    calibration, _ = calibrate(3)
    assert len(calibration.image_scores) == 3


def test_one_fold_is_refused():
    with pytest.raises(ConfigError, match="n_folds"):
        Calibration(1)
