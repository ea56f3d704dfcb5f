"""ROC and precision-recall curves and their summary numbers: pure functions of counts.

The arguments `positives` and `negatives` are the numbers of defects and of good samples at each
distinct score, `(..., K)` int64 or float64, scores ascending along the last dimension. They come
from exact scores (`count`) or from histograms (`fre_lightning.metrics.bins`); leading dimensions
are batches (`fre_lightning.metrics.bootstrap`). Results are float64.

Without positives or without negatives every number is NaN, never a value such as 0.5 that could
be mistaken for a result.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

AUPRO_LIMIT = 0.3
"""The false positive rate up to which AUPRO averages, as the field defines it."""

_MAX_POINTS = 300


def count(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Count positives and negatives at each distinct score, ascending.

    Args:
        scores: `(N,)` float of any range, infinities included.
        labels: `(N,)`, true or non-zero for positives.

    Returns:
        Positives and negatives, `(K,)` int64 each.

    Raises:
        ValueError: If a score is NaN, which has no rank.
    """
    if scores.isnan().any():
        msg = f"{int(scores.isnan().sum())} of {scores.numel()} scores are NaN and have no rank."
        raise ValueError(msg)
    distinct, bins = torch.unique(scores, return_inverse=True)
    labels, n = labels.bool(), len(distinct)
    return torch.bincount(bins[labels], minlength=n), torch.bincount(bins[~labels], minlength=n)


def merge_counts(positives: Tensor, negatives: Tensor, n_bins: int) -> tuple[Tensor, Tensor]:
    """Merge neighbouring scores, so that a curve has fewer points but keeps its shape.

    The bins have equal length along the ROC curve. All points of a merged curve are points of the
    original one.

    Args:
        positives: `(K,)`.
        negatives: `(K,)`.
        n_bins: The largest number of bins; curves then have at most `n_bins + 1` points.

    Returns:
        Positives and negatives, `(k,)` each, k <= min(K, n_bins).
    """
    both = torch.stack([positives, negatives])
    step = (both.double() / both.sum(-1, keepdim=True).clamp(min=1)).sum(0)
    middle = step.cumsum(-1) - step / 2  # of each score's step along the curve, below 2
    group = (middle / 2 * n_bins).long().clamp(max=n_bins - 1)
    _, group = torch.unique_consecutive(group, return_inverse=True)
    n_groups = int(group[-1]) + 1 if len(group) else 0
    merged = both.new_zeros(2, n_groups).index_add_(1, group, both)
    return merged[0], merged[1]


def curve_points(
    positives: Tensor, negatives: Tensor, fpr_limit: float = 1.0
) -> dict[str, list[float]] | None:
    """A ROC curve of at most 301 points, for files and charts.

    Args:
        positives: `(K,)`.
        negatives: `(K,)`.
        fpr_limit: The false positive rate where the curve ends, interpolated.

    Returns:
        False positive rates `x` and true positive rates `y`; None if they are not defined.
    """
    if not positives.sum() > 0 or not negatives.sum() > 0:
        return None
    x, y = roc_curve(*merge_counts(positives, negatives, _MAX_POINTS))
    n_within = int((x <= fpr_limit).sum())
    if n_within < len(x):
        share = (fpr_limit - x[n_within - 1]) / (x[n_within] - x[n_within - 1])
        end = torch.lerp(y[n_within - 1], y[n_within], share)
        x = torch.cat([x[:n_within], x.new_tensor([fpr_limit])])
        y = torch.cat([y[:n_within], end[None]])
    return {"x": x.mul(1e6).round().div(1e6).tolist(), "y": y.mul(1e6).round().div(1e6).tolist()}


def roc_curve(positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """False and true positive rate, `(..., K + 1)` each, from (0, 0) to (1, 1)."""
    true, false = _at_least(positives), _at_least(negatives)
    return false / false[..., -1:], true / true[..., -1:]


def precision_recall_curve(positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and recall, `(..., K + 1)` each, from recall 0 to recall 1.

    Precision is 1 where nothing is predicted, as in scikit-learn, whose order is the reverse.
    """
    true = _at_least(positives)
    predicted = true + _at_least(negatives)
    precision = torch.where(predicted > 0, true / predicted, 1.0)
    return precision, true / true[..., -1:]


def pr_curve_counts(positives: Tensor, negatives: Tensor) -> dict[str, Tensor | int]:
    """Keyword arguments of TensorBoard's `SummaryWriter.add_pr_curve_raw`.

    Its `add_pr_curve` takes scores in [0, 1] only.

    Args:
        positives: `(K,)`, K <= 127 (TensorBoard's limit): see `merge_counts`.
        negatives: `(K,)`.

    Returns:
        Counts, precision and recall by ascending threshold, `(K,)` each, and `num_thresholds`.
    """
    true = _at_least(positives)[1:].flip(-1)
    false = _at_least(negatives)[1:].flip(-1)
    return {
        "true_positive_counts": true,
        "false_positive_counts": false,
        "true_negative_counts": negatives.sum() - false,
        "false_negative_counts": positives.sum() - true,
        "precision": true / (true + false),
        "recall": true / positives.sum(),
        "num_thresholds": len(true),
    }


def auroc(positives: Tensor, negatives: Tensor) -> Tensor:
    """Area under the ROC curve `(...)`: the probability that a positive outranks a negative.

    A tie counts one half.
    """
    positives, negatives = positives.double(), negatives.double()
    below = negatives.cumsum(-1) - negatives / 2
    return (positives * below).sum(-1) / (positives.sum(-1) * negatives.sum(-1))


def partial_auroc(positives: Tensor, negatives: Tensor, fpr_limit: float = AUPRO_LIMIT) -> Tensor:
    """Area under the ROC curve up to a false positive rate, divided by that rate, `(...)`.

    The curve is interpolated linearly at the limit. If each positive is weighted by the reciprocal
    size of its region, this is AUPRO (Bergmann et al. 2021, The MVTec Anomaly Detection Dataset,
    IJCV), because the weighted true positive rate is the mean covered fraction of the regions.
    """
    fpr, tpr = roc_curve(positives, negatives)
    left, width = fpr[..., :-1], fpr.diff(dim=-1)
    inside = (fpr_limit - left).clamp(min=0).minimum(width)
    slope = torch.where(width > 0, tpr.diff(dim=-1) / width, 0.0)
    area = (inside * (tpr[..., :-1] + slope * inside / 2)).sum(-1) / fpr_limit
    # Without negatives widths are NaN, which `width > 0` takes for 0.
    return _where_defined(area, positives, negatives)


def average_precision(positives: Tensor, negatives: Tensor) -> Tensor:
    """Precision averaged over steps of recall `(...)`, as in scikit-learn."""
    precision, recall = precision_recall_curve(positives, negatives)
    area = (recall.diff(dim=-1) * precision[..., 1:]).sum(-1)
    return _where_defined(area, positives, negatives)


def fpr_at_tpr(positives: Tensor, negatives: Tensor, tpr: float) -> Tensor:
    """The least false positive rate `(...)` of scores that reach a true positive rate."""
    false, true = roc_curve(positives, negatives)
    reached = true >= tpr - 1e-12  # rates are quotients of counts
    return _where_defined(torch.where(reached, false, 1.0).amin(-1), positives, negatives)


def f1_max(positives: Tensor, negatives: Tensor) -> Tensor:
    """The highest F1 score over all thresholds, `(...)`."""
    true, false = _at_least(positives), _at_least(negatives)
    f1 = 2 * true / (true + false + true[..., -1:])
    return _where_defined(f1.amax(-1), positives, negatives)


def aupimo(
    positives: Tensor, normal: Tensor, fpr_bounds: tuple[float, float] = (1e-5, 1e-4)
) -> Tensor:
    """Mean area under the per-image overlap curve (Bertoldo et al. 2024, arXiv 2401.01984).

    An image's curve is its true positive rate over the logarithm of the false positive rate of
    good images; its area is the mean between the bounds. The area is a sum over the image's defect
    pixels: each contributes the part of the range in which it lies above the threshold. So the
    mean over images needs only one weighted histogram, not one for each image.

    Args:
        positives: `(..., K)` defect pixels, weighted so that all images have equal weight.
        normal: `(..., K)` pixels of good images.
        fpr_bounds: Lowest and highest false positive rate, in (0, 1].
    """
    lower, upper = fpr_bounds
    false = _at_least(normal)[..., 1:].flip(-1)  # at or above each score, ascending
    fpr = (false / false[..., :1]).clamp(lower, upper)
    gain = (math.log(upper) - fpr.log()) / math.log(upper / lower)
    weights = positives.double()
    return _where_defined((weights * gain).sum(-1) / weights.sum(-1), positives, normal)


def _at_least(counts: Tensor) -> Tensor:
    """Counts at or above each score, highest score first and 0 before it, `(..., K + 1)`."""
    return F.pad(counts.double().flip(-1).cumsum(-1), (1, 0))


def _where_defined(value: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Replace `(...)` values by NaN where there are no positives or no negatives."""
    defined = (positives.sum(-1) > 0) & (negatives.sum(-1) > 0)
    return torch.where(defined, value, math.nan)
