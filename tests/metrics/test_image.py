import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from fre_lightning.metrics.image import ImageMetrics
from tests.metrics.test_pixel import SCALES, values_of


@pytest.mark.parametrize("scale", SCALES)
def test_they_equal_scikit_learn_at_any_scale(scale):
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(100, generator=generator) < 0.4
    scores = SCALES[scale](torch.randn(100, generator=generator) + labels)
    batches = zip(scores.split(32), labels.split(32), strict=True)
    values = values_of(ImageMetrics(), *batches)
    assert values["image_auroc"] == pytest.approx(roc_auc_score(labels, scores))
    assert values["image_aupr"] == pytest.approx(average_precision_score(labels, scores))
    precision, recall, _ = precision_recall_curve(labels, scores)
    expected = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert values["image_f1_max"] == pytest.approx(expected)


def test_those_of_separable_large_scores_are_1():
    values = values_of(ImageMetrics(), (torch.tensor([300.0, 400, 500]), torch.tensor([0, 1, 1])))
    assert values == {"image_auroc": 1, "image_aupr": 1, "image_f1_max": 1}


@pytest.mark.parametrize("labels", [[0], [0, 0], [1, 1]])
def test_those_of_one_class_are_nan(labels):
    values = values_of(ImageMetrics(), (torch.rand(len(labels)), torch.tensor(labels)))
    assert all(math.isnan(value) for value in values.values())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_without_an_update_all_is_nan():
    assert all(math.isnan(value) for value in ImageMetrics().compute().values())


def test_halves_merge_to_the_whole():
    scores, labels = torch.rand(50), torch.arange(50) % 3 == 0
    first, second, whole = (ImageMetrics() for _ in range(3))
    expected = values_of(whole, (scores, labels))
    first.update(scores[:20], labels[:20])
    second.update(scores[20:], labels[20:])
    first.merge_state(second)
    assert first.compute() == pytest.approx(expected)


def test_they_refuse_other_shapes():
    with pytest.raises(ValueError, match=r"scores \(3,\) and labels \(2,\)"):
        ImageMetrics().update(torch.rand(3), torch.ones(2))
