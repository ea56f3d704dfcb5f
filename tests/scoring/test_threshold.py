import numpy as np
import pytest
import torch
from scipy import stats

from fre_lightning.errors import ConfigError
from fre_lightning.scoring.threshold import (
    decision_metrics,
    find_threshold,
    n_images_needed,
    p_values,
)


def draw(n, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).gamma(5.0, size=n))


def test_p_values_by_hand():
    calibration = torch.tensor([3.0, 1.0, 2.0])
    values = p_values(torch.tensor([0.0, 2.0, 2.5, 9.0]), calibration)
    assert values.tolist() == [1.0, 0.75, 0.5, 0.25]


def test_p_values_of_new_normal_images_are_uniform():
    values = torch.cat([p_values(draw(50, 2 * i), draw(80, 2 * i + 1)) for i in range(200)])
    for level in (0.05, 0.1, 0.5):
        assert (values <= level).double().mean() == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_new_normal_images_exceed_the_threshold_at_the_rate(rate):
    n = n_images_needed(rate)
    exceeded = []
    for seed in range(400):
        scores = draw(n, 2 * seed)
        threshold = find_threshold(scores, rate)
        assert threshold in scores
        exceeded.append((draw(100, 2 * seed + 1) > threshold).double().mean())
    assert np.mean(exceeded) == pytest.approx(rate, abs=0.25 * rate)


def test_how_many_images_a_rate_needs():
    assert [n_images_needed(rate) for rate in (0.01, 0.05, 0.1, 0.5)] == [99, 19, 9, 1]
    assert find_threshold(draw(98), 0.01) not in draw(98)
    assert find_threshold(draw(99), 0.01) in draw(99)


def test_the_fitted_tail_is_near_the_true_quantile():
    true = stats.gamma.isf(0.01, 5.0)
    values = [find_threshold(draw(60, seed), 0.01) for seed in range(200)]
    assert np.median(values) == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_few_or_equal_scores_give_a_number_not_below_the_highest(n):
    for scores in (draw(n), torch.full((n,), 2.0)):
        assert find_threshold(scores, 0.01) >= scores.max()


def test_decisions_by_hand():
    scores, labels = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([0, 0, 1, 0, 1])
    metrics = decision_metrics(scores, labels, 3.0)
    assert metrics == {
        "accuracy": 3 / 5,
        "precision": 1 / 2,
        "recall": 1 / 2,
        "false_alarm_rate": 1 / 3,
    }
    assert decision_metrics(scores[:2], labels[:2], 3.0) == {"accuracy": 1, "false_alarm_rate": 0}


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_what_cannot_be_asked(rate):
    with pytest.raises(ConfigError, match="rate="):
        find_threshold(draw(5), rate)
