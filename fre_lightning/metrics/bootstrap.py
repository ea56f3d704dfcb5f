"""Confidence intervals by resampling images."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fre_lightning.metrics.curves import count

# Resamples are handled in blocks of this many counts: 2 MB in float64, what a core's cache holds.
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
        statistic: A function of `(n, K)` positives and negatives at each distinct score, such as
            `curves.auroc`, that returns `(n,)`.
        n_resamples: How many resamples to draw.
        seed: The same seed gives the same interval.
        level: The probability that the interval should cover.

    Returns:
        Lower and upper end; NaN if there are no positives or no negatives.
    """
    _, positives, negatives = (counts.cpu() for counts in count(scores, labels))
    if not positives.sum() or not negatives.sum():
        return math.nan, math.nan
    generator = torch.Generator().manual_seed(seed)
    block = max(1, _BLOCK_ELEMENTS // len(scores))
    draws = []
    for start in range(0, n_resamples, block):
        n = min(block, n_resamples - start)
        draws.append(
            statistic(_resample(positives, n, generator), _resample(negatives, n, generator))
        )
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    lower, upper = torch.cat(draws).double().quantile(tails).tolist()
    return lower, upper


def _resample(counts: Tensor, n_resamples: int, generator: torch.Generator) -> Tensor:
    """Draw as many samples with replacement as `(K,)` counts hold: `(n_resamples, K)` int64."""
    bins = torch.arange(len(counts)).repeat_interleave(counts)
    picks = torch.randint(len(bins), (n_resamples, len(bins)), generator=generator)
    drawn = counts.new_zeros(n_resamples, len(counts))
    return drawn.scatter_add_(1, bins[picks], torch.ones_like(picks))
