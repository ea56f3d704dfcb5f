import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fre_lightning.metrics import curves
from fre_lightning.metrics.bootstrap import bootstrap_interval
from fre_lightning.metrics.image import image_metrics
from fre_lightning.metrics.info import IMAGE_METRICS


def random_scores(n):
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(n, generator=generator) < 0.3
    return torch.randn(n, generator=generator) + labels, labels


def test_interval_agrees_with_resampling_by_scikit_learn():
    scores, labels = random_scores(150)
    rng = np.random.default_rng(0)
    good, bad = scores[~labels].numpy(), scores[labels].numpy()
    truth = np.repeat([0, 1], [len(good), len(bad)])
    draws = [
        roc_auc_score(truth, np.concatenate([rng.choice(x, len(x)) for x in (good, bad)]))
        for _ in range(1000)
    ]
    lower, upper = bootstrap_interval(scores, labels, curves.auroc)
    np.testing.assert_allclose([lower, upper], np.quantile(draws, [0.025, 0.975]), atol=0.01)


@pytest.mark.parametrize("statistic", [curves.average_precision, curves.f1_max])
def test_any_statistic_of_counts_works(statistic):
    scores, labels = random_scores(100)
    lower, upper = bootstrap_interval(scores, labels, statistic, n_resamples=50)
    assert 0 < lower < statistic(*curves.count(scores, labels)) < upper < 1


def test_image_metrics_report_intervals_around_their_values():
    scores, labels = random_scores(80)
    values = image_metrics(scores, labels)
    for name in IMAGE_METRICS:
        assert values[f"{name}_low"] < values[name] < values[f"{name}_high"]
    expected = bootstrap_interval(scores, labels, curves.auroc)
    assert (values["image_auroc_low"], values["image_auroc_high"]) == expected


def test_the_seed_decides():
    scores, labels = random_scores(60)
    first, again, other = (
        bootstrap_interval(scores, labels, curves.auroc, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_higher_level_is_wider():
    scores, labels = random_scores(60)
    (a, d), (b, c) = (
        bootstrap_interval(scores, labels, curves.auroc, level=level) for level in (0.99, 0.8)
    )
    assert a < b < c < d


def test_all_resamples_count_however_they_are_divided():
    scores, labels = random_scores(100_000)  # too many to resample them all at a time
    values = []

    def statistic(positives, negatives):
        assert (positives.sum(-1) == labels.sum()).all()
        assert (negatives.sum(-1) == (~labels).sum()).all()
        values.append(curves.auroc(positives, negatives))
        return values[-1]

    ends = bootstrap_interval(scores, labels, statistic, n_resamples=5)
    assert len(values) > 1
    each = torch.cat(values).numpy()
    assert len(set(each)) == 5
    np.testing.assert_allclose(ends, np.quantile(each, [0.025, 0.975]))


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
def test_one_class_gives_nan(labels):
    scores, labels = torch.zeros(len(labels)), torch.tensor(labels)
    assert all(map(math.isnan, bootstrap_interval(scores, labels, curves.auroc)))
