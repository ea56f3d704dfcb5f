"""Decisions from normal images alone: p-values, and thresholds that few normal images exceed.

They rest on held-out scores (`fre_lightning.reducers.cross_fit`): each training image is scored by
a subspace fitted without it. Labels of test images play no part.
"""

import math

import numpy as np
import torch
from torch import Tensor

from fre_lightning.errors import ConfigError

# The tail is fitted to this share of the highest scores, and to no fewer scores than this.
_TAIL_SHARE, _MIN_TAIL = 0.2, 8


def check_rate(rate: float) -> None:
    """Reject a false-alarm rate outside (0, 1) with a `ConfigError`."""
    if not 0 < rate < 1:
        msg = f"false_alarm_rate={rate} must lie between 0 and 1."
        raise ConfigError(msg)


def p_values(scores: Tensor, calibration: Tensor) -> Tensor:
    """The share of normal images that score at least this high (cross-conformal, Vovk 2015).

    Args:
        scores: `(M,)`.
        calibration: `(N,)` held-out scores of normal images.

    Returns:
        `(M,)` float64 from 1 / (N + 1) to 1. About a share p of normal images has a p-value of
        at most p.
    """
    ordered = calibration.double().sort().values
    n_below = torch.searchsorted(ordered, scores.double())
    return (len(ordered) - n_below + 1).double() / (len(ordered) + 1)


def n_images_needed(rate: float) -> int:
    """The number of normal images at which a false-alarm rate is observable: 99 for 1 %."""
    return math.ceil(1 / rate - 1e-9) - 1


def find_threshold(calibration: Tensor, rate: float) -> float:
    """The score above which an image is called defective, for a false-alarm rate.

    A new normal image exceeds the k-th highest of N scores, k = floor(rate (N + 1)), with a
    probability of at most `rate`. If N is too small for k = 1 (see `n_images_needed`), it is
    extrapolated: a generalised Pareto tail (Pickands 1975) is fitted to the highest scores.

    Args:
        calibration: `(N,)` held-out scores of normal images, at least one.
        rate: Between 0 and 1.

    Raises:
        ConfigError: If the rate is out of range.
    """
    check_rate(rate)
    ordered = calibration.double().sort(descending=True).values
    k = math.floor(rate * (len(ordered) + 1) + 1e-9)
    return float(ordered[k - 1]) if k >= 1 else _tail_quantile(ordered, rate)


def decision_metrics(scores: Tensor, labels: Tensor, threshold: float) -> dict[str, float]:
    """Compare decisions with labels: images above the threshold are called defective.

    Args:
        scores: `(N,)`.
        labels: `(N,)`, 1 for defective images.
        threshold: A score.

    Returns:
        `accuracy`, `precision`, `recall` and `false_alarm_rate` (of good images), each if defined.
    """
    called, defective = scores > threshold, labels.bool()
    parts = {
        "accuracy": called == defective,
        "precision": defective[called],
        "recall": called[defective],
        "false_alarm_rate": called[~defective],
    }
    return {name: float(part.double().mean()) for name, part in parts.items() if len(part)}


def _tail_quantile(descending: Tensor, rate: float) -> float:
    """The score exceeded by a share `rate`, from a tail fitted to the highest of `(N,)` scores."""
    from scipy import stats  # type: ignore[import-untyped]  # half a second, seldom needed

    n_tail = min(max(_MIN_TAIL, round(_TAIL_SHARE * len(descending))), len(descending) - 1)
    if n_tail < 2:
        return float(descending[0])
    start = descending[n_tail]
    excess = (descending[:n_tail] - start).numpy()
    if excess.max() <= 0:
        return float(descending[0])
    # Probability-weighted moments (Hosking and Wallis 1987) are stable with few scores.
    mean = excess.mean()
    weighted = (excess * np.linspace(0, 1, n_tail)).mean()  # E[x (1 - F(x))]
    shape = min(max(2 - mean / (mean - 2 * weighted), -0.5), 0.5)
    scale = mean * (1 - shape)
    conditional = rate * len(descending) / n_tail
    quantile = float(stats.genpareto.isf(conditional, shape, scale=scale))
    return max(float(start) + quantile, float(descending[0]))
