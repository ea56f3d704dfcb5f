"""Metrics of image scores, such as AUROC, average precision and F1, and their intervals.

torchmetrics' own AUROC is not used: it passes a batch through a sigmoid if a score lies outside
[0, 1], as all reconstruction errors do.
"""

from collections.abc import Mapping

from torch import Tensor

from fre_lightning.metrics.bootstrap import bootstrap_intervals
from fre_lightning.metrics.curves import count
from fre_lightning.metrics.info import IMAGE_METRICS, INTERVAL_ENDS, MetricInfo


def image_metrics(
    scores: Tensor, labels: Tensor, infos: Mapping[str, MetricInfo] = IMAGE_METRICS
) -> dict[str, float]:
    """Exact image AUROC, average precision (AUPR) and highest F1, or other metrics of scores.

    Args:
        scores: `(N,)` float of any range.
        labels: `(N,)`, true or non-zero for defective images.
        infos: The metrics.

    Returns:
        Each of them, and the ends of its 95 % bootstrap interval as `<name>_low` and
        `<name>_high`; NaN without defective or without good images.

    Raises:
        ValueError: If a score is NaN, which has no rank.
    """
    counts = count(scores, labels)
    values = {name: float(info.function(*counts)) for name, info in infos.items()}
    intervals = bootstrap_intervals(scores, labels, [info.function for info in infos.values()])
    for name, interval in zip(infos, intervals, strict=True):
        values |= {name + end: value for end, value in zip(INTERVAL_ENDS, interval, strict=True)}
    return values
