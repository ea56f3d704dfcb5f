import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from fre_lightning.metrics.ood import OOD_METRICS, ood_metrics


def draw(ties):
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(130, generator=generator)
    unknown = torch.randn(70, generator=generator) + 1
    return (known.mul(3).round(), unknown.mul(3).round()) if ties else (known, unknown)


@pytest.mark.parametrize("ties", [False, True])
def test_numbers_equal_scikit_learn(ties):
    known, unknown = draw(ties)
    values = ood_metrics(known, unknown)
    scores = np.concatenate([known, unknown])
    is_unknown = np.repeat([0, 1], [len(known), len(unknown)])
    fpr, tpr, _ = roc_curve(1 - is_unknown, -scores, drop_intermediate=False)
    expected = {
        "auroc": roc_auc_score(is_unknown, scores),
        "aupr_in": average_precision_score(1 - is_unknown, -scores),
        "aupr_out": average_precision_score(is_unknown, scores),
        "fpr95": fpr[np.argmax(tpr >= 0.95)],
    }
    for name in OOD_METRICS:
        assert values[name] == pytest.approx(expected[name], abs=1e-12)
        assert values[f"{name}_low"] < values[name] < values[f"{name}_high"]


def test_cases_by_hand():
    known, unknown = torch.arange(20.0), torch.tensor([17.5, 18.5, 30.0])
    # The lowest 19 of 20 are accepted, up to 18: one of three unknown images lies below.
    assert ood_metrics(known, unknown)["fpr95"] == pytest.approx(1 / 3)
    assert ood_metrics(known, known + 100)["fpr95"] == 0
    assert ood_metrics(known, torch.full((4,), -1.0))["fpr95"] == 1
    assert np.isnan(ood_metrics(known, torch.empty(0))["fpr95"])
