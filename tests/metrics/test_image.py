import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from fre_lightning.metrics.image import image_metrics
from tests.metrics.test_pixel import SCALES


@pytest.mark.parametrize("scale", SCALES)
def test_they_equal_scikit_learn_at_any_scale(scale):
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(100, generator=generator) < 0.4
    scores = SCALES[scale](torch.randn(100, generator=generator) + labels)
    values = image_metrics(scores, labels)
    assert values["image_auroc"] == pytest.approx(roc_auc_score(labels, scores))
    assert values["image_aupr"] == pytest.approx(average_precision_score(labels, scores))
    precision, recall, _ = precision_recall_curve(labels, scores)
    expected = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert values["image_f1_max"] == pytest.approx(expected)


def test_those_of_separable_large_scores_are_1():
    values = image_metrics(torch.tensor([300.0, 400, 500]), torch.tensor([0, 1, 1]))
    assert set(values.values()) == {1}


@pytest.mark.parametrize("labels", [[], [0], [0, 0], [1, 1]])
def test_those_of_one_class_are_nan(labels):
    values = image_metrics(torch.rand(len(labels)), torch.tensor(labels))
    assert all(math.isnan(value) for value in values.values())


def test_a_score_that_is_nan_is_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        image_metrics(torch.tensor([1.0, math.nan]), torch.tensor([0, 1]))
