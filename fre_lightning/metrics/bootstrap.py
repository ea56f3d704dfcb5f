"""Confidence intervals by resampling images."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fre_lightning.metrics.curves import count

Statistic = Callable[[Tensor, Tensor], Tensor]
"""Maps `(n, K)` positives and negatives at each distinct score to `(n,)`, as `curves.auroc` does.
"""

# Counts per block of resamples: 2 MB in float64, the size of a core's cache.
_BLOCK_ELEMENTS = 2**18


def bootstrap_interval(
    scores: Tensor, labels: Tensor, statistic: Statistic, **options: Any
) -> tuple[float, float]:
    """The interval of one statistic; options as of `bootstrap_intervals`."""
    return bootstrap_intervals(scores, labels, [statistic], **options)[0]


def bootstrap_intervals(
    scores: Tensor,
    labels: Tensor,
    statistics: Sequence[Statistic],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[tuple[float, float]]:
    """Percentile bootstrap intervals of statistics of image scores, resampled within each label.

    Args:
        scores: `(N,)` float.
        labels: `(N,)`, true or non-zero for positives.
        statistics: All of the same resamples.
        n_resamples: The number of resamples.
        seed: The same seed gives the same intervals.
        level: The confidence level, in (0, 1).

    Returns:
        Lower and upper end of each; NaN without positives or without negatives.
    """
    positives, negatives = (counts.cpu() for counts in count(scores, labels))
    if not positives.sum() or not negatives.sum():
        return [(math.nan, math.nan)] * len(statistics)
    generator = torch.Generator().manual_seed(seed)
    block = max(1, _BLOCK_ELEMENTS // len(scores))
    draws = []
    for start in range(0, n_resamples, block):
        n = min(block, n_resamples - start)
        counts = _resample(positives, n, generator), _resample(negatives, n, generator)
        draws.append(torch.stack([statistic(*counts).double() for statistic in statistics]))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    lower, upper = torch.cat(draws, dim=1).quantile(tails, dim=1).tolist()
    return list(zip(lower, upper, strict=True))


def _resample(counts: Tensor, n_resamples: int, generator: torch.Generator) -> Tensor:
    """Draw `counts.sum()` samples with replacement from `(K,)` counts: `(n_resamples, K)` int64."""
    bins = torch.arange(len(counts)).repeat_interleave(counts)
    picks = torch.randint(len(bins), (n_resamples, len(bins)), generator=generator)
    drawn = counts.new_zeros(n_resamples, len(counts))
    return drawn.scatter_add_(1, bins[picks], torch.ones_like(picks))
