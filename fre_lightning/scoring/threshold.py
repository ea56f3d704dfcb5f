"""Decisions from normal images alone: p-values, and the score that few normal images exceed.

The calibration scores are held-out ones (`reducers.cross_fit`): each training image scored by
the subspace of the others. Labels of test images play no part.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from fre_lightning.errors import ConfigError

# The share of calibration scores that an extreme-value tail is fitted to, and their least number.
_TAIL_SHARE, _MIN_TAIL = 0.2, 8


class Threshold(NamedTuple):
    """A score above which an image is called defective.

    Attributes:
        value: The score.
        rate: The share of normal images that is expected to lie above it.
        is_extrapolated: Whether it comes from a fitted tail, for want of images.
    """

    value: float
    rate: float
    is_extrapolated: bool


def check_rate(rate: float) -> None:
    """Refuse a false-alarm rate that is none.

    Raises:
        ConfigError: If it does not lie between 0 and 1.
    """
    if not 0 < rate < 1:
        msg = f"false_alarm_rate={rate} must lie between 0 and 1."
        raise ConfigError(msg)


def p_values(scores: Tensor, calibration: Tensor) -> Tensor:
    """How unusual scores are among those of normal images (cross-conformal, Vovk 2015).

    Args:
        scores: `(M,)`.
        calibration: `(N,)` held-out scores of normal images.

    Returns:
        `(M,)` float64 within 1 / (N + 1) and 1. Of normal images about a share p has a p-value
        of at most p.
    """
    ordered = calibration.double().sort().values
    n_below = torch.searchsorted(ordered, scores.double())
    return (len(ordered) - n_below + 1).double() / (len(ordered) + 1)


def n_images_needed(rate: float) -> int:
    """How many normal images it takes to see a false-alarm rate: 99 for 1 %."""
    return math.ceil(1 / rate - 1e-9) - 1


def find_threshold(calibration: Tensor, rate: float) -> Threshold:
    """The threshold for a target false-alarm rate.

    With N scores the k-th highest, k = floor(rate (N + 1)), is exceeded by a new normal image with
    a probability of at most `rate`. With too few for k = 1 a generalised Pareto tail (Pickands
    1975) is fitted to the highest scores, and the result says that it is extrapolated.

    Args:
        calibration: `(N,)` held-out scores of normal images.
        rate: Within 0 and 1.

    Raises:
        ValueError: If the rate is out of range or there is no score.
    """
    if not 0 < rate < 1 or len(calibration) == 0:
        msg = f"rate={rate} must lie between 0 and 1, and scores ({len(calibration)}) be given."
        raise ValueError(msg)
    ordered = calibration.double().sort(descending=True).values
    k = math.floor(rate * (len(ordered) + 1) + 1e-9)
    if k >= 1:
        return Threshold(float(ordered[k - 1]), rate, is_extrapolated=False)
    return Threshold(_tail_quantile(ordered, rate), rate, is_extrapolated=True)


def decision_metrics(scores: Tensor, labels: Tensor, threshold: float) -> dict[str, float]:
    """How calling images above a threshold defective does.

    Args:
        scores: `(N,)`.
        labels: `(N,)`, 1 for defective images.
        threshold: A score.

    Returns:
        `accuracy`, `precision`, `recall` and `false_alarm_rate` (of good images), those defined.
    """
    called, defective = scores > threshold, labels.bool()
    n_hits, n_called = int((called & defective).sum()), int(called.sum())
    n_defective, n_good = int(defective.sum()), int((~defective).sum())
    parts = {
        "accuracy": (int((called == defective).sum()), len(scores)),
        "precision": (n_hits, n_called),
        "recall": (n_hits, n_defective),
        "false_alarm_rate": (n_called - n_hits, n_good),
    }
    return {name: part / whole for name, (part, whole) in parts.items() if whole}


def _tail_quantile(descending: Tensor, rate: float) -> float:
    """The score that a share `rate` exceeds, by a tail fitted to the highest of `(N,)` scores."""
    n_tail = min(max(_MIN_TAIL, round(_TAIL_SHARE * len(descending))), len(descending) - 1)
    if n_tail < 2:
        return float(descending[0])
    start = descending[n_tail]
    excess = (descending[:n_tail] - start).numpy()
    if excess.max() <= 0:
        return float(descending[0])
    # Probability-weighted moments (Hosking and Wallis 1987): steady where few scores are given.
    mean = excess.mean()
    weighted = (excess * np.linspace(0, 1, n_tail)).mean()  # E[x (1 - F(x))]
    shape = min(max(2 - mean / (mean - 2 * weighted), -0.5), 0.5)
    scale = mean * (1 - shape)
    conditional = rate * len(descending) / n_tail
    quantile = float(stats.genpareto.isf(conditional, shape, scale=scale))
    return max(float(start) + quantile, float(descending[0]))
