"""Metrics of known images against images from another world, as papers on the latter define them.

Scores are higher for the unknown. Those of FPR95 and AUPR-in take the known as positives, ranked by
the negative score.
"""

import torch
from torch import Tensor

from fre_lightning.metrics import curves
from fre_lightning.metrics.image import image_metrics
from fre_lightning.metrics.info import MetricInfo

TPR = 0.95
"""The share of known images that FPR95 accepts."""


def aupr_in(positives: Tensor, negatives: Tensor) -> Tensor:
    """Average precision `(...)` of the known, counted as `negatives` by ascending score."""
    return curves.average_precision(negatives.flip(-1), positives.flip(-1))


def fpr95(positives: Tensor, negatives: Tensor) -> Tensor:
    """The share `(...)` of unknown images below a threshold that accepts 95 % of known ones."""
    return curves.fpr_at_tpr(negatives.flip(-1), positives.flip(-1), TPR)


OOD_METRICS = {
    "auroc": MetricInfo("AUROC", curves.auroc),
    "aupr_in": MetricInfo("AUPR-in", aupr_in),
    "aupr_out": MetricInfo("AUPR-out", curves.average_precision),
    "fpr95": MetricInfo("FPR95", fpr95),
}


def ood_metrics(known: Tensor, unknown: Tensor) -> dict[str, float]:
    """Metrics of scores, with intervals as `image_metrics` gives them.

    Args:
        known: `(N,)` scores of known images.
        unknown: `(M,)` scores of unknown images.
    """
    labels = torch.cat([torch.zeros(len(known)), torch.ones(len(unknown))])
    return image_metrics(torch.cat([known, unknown]), labels, OOD_METRICS)
