"""Image metrics: AUROC, average precision and F1 of image scores, and their intervals.

torchmetrics' own AUROC is not used: it passes a batch through a sigmoid if a score lies outside
[0, 1], as all reconstruction errors do.
"""

from torch import Tensor

from fre_lightning.metrics.bootstrap import bootstrap_interval
from fre_lightning.metrics.curves import count
from fre_lightning.metrics.info import IMAGE_METRICS, INTERVAL_ENDS


def image_metrics(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Exact image AUROC, average precision (AUPR) and highest F1.

    Args:
        scores: `(N,)` float of any range.
        labels: `(N,)`, true or non-zero for defective images.

    Returns:
        Each of `IMAGE_METRICS`, and the ends of its 95 % bootstrap interval as `<name>_low` and
        `<name>_high`; NaN without defective or without good images.

    Raises:
        ValueError: If a score is NaN, which has no rank.
    """
    counts = count(scores, labels)
    values = {name: float(info.function(*counts)) for name, info in IMAGE_METRICS.items()}
    for name, info in IMAGE_METRICS.items():
        ends = bootstrap_interval(scores, labels, info.function)
        values |= {name + end: value for end, value in zip(INTERVAL_ENDS, ends, strict=True)}
    return values
