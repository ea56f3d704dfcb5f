"""Confidence intervals by resampling images."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fre_lightning.metrics.curves import count

# Counts per block of resamples: 2 MB in float64, the size of a core's cache.
_BLOCK_ELEMENTS = 2**18


def bootstrap_interval(
    scores: Tensor,
    labels: Tensor,
    statistic: Callable[[Tensor, Tensor], Tensor],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of image scores, resampled within each label.

    Args:
        scores: `(N,)` float.
        labels: `(N,)`, true or non-zero for positives.
        statistic: Maps `(n, K)` positives and negatives at each distinct score to `(n,)`, as
            `curves.auroc` does.
        n_resamples: The number of resamples.
        seed: The same seed gives the same interval.
        level: The confidence level, in (0, 1).

    Returns:
        Lower and upper end; NaN without positives or without negatives.
    """
    positives, negatives = (counts.cpu() for counts in count(scores, labels))
    if not positives.sum() or not negatives.sum():
        return math.nan, math.nan
    generator = torch.Generator().manual_seed(seed)
    block = max(1, _BLOCK_ELEMENTS // len(scores))
    sizes = (min(block, n_resamples - start) for start in range(0, n_resamples, block))
    draws = [
        statistic(_resample(positives, n, generator), _resample(negatives, n, generator))
        for n in sizes
    ]
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    lower, upper = torch.cat(draws).double().quantile(tails).tolist()
    return lower, upper


def _resample(counts: Tensor, n_resamples: int, generator: torch.Generator) -> Tensor:
    """Draw `counts.sum()` samples with replacement from `(K,)` counts: `(n_resamples, K)` int64."""
    bins = torch.arange(len(counts)).repeat_interleave(counts)
    picks = torch.randint(len(bins), (n_resamples, len(bins)), generator=generator)
    drawn = counts.new_zeros(n_resamples, len(counts))
    return drawn.scatter_add_(1, bins[picks], torch.ones_like(picks))
