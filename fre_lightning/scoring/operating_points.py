"""Operating points: thresholds, and what they cost in parts.

They are chosen by labels, and only where the user gives defective parts for that. All of them are
scores of good parts: between two of these the number of good parts stopped is the same, and the
lower one misses the fewest defects. So each is the threshold of a false-alarm rate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fre_lightning.errors import ConfigError
from fre_lightning.scoring.threshold import find_threshold

POINTS = ("rate", "no_false_alarm", "no_miss", "least_cost")

_LEVEL = 0.95  # of intervals


class Cost(NamedTuple):
    """Prices, in any unit.

    Attributes:
        miss: Of a defective part that passes.
        false_alarm: Of a good part that is stopped.
        defective_share: The share of defective parts on the line; None: that of the parts given.
    """

    miss: float
    false_alarm: float
    defective_share: float | None


class Counts(NamedTuple):
    """A number of parts, of how many, and the interval of the rate behind it."""

    n: int
    total: int
    low: float
    high: float


class OperatingPoint(NamedTuple):
    """A threshold and what it does to the parts given.

    Attributes:
        name: One of `POINTS`.
        rate: The false-alarm rate whose threshold it is; 1 stops every good part.
        threshold: Parts with a higher score are stopped.
        stopped: Good parts that are stopped.
        missed: Defective parts that pass; None if no defective parts are given.
    """

    name: str
    rate: float
    threshold: float
    stopped: Counts
    missed: Counts | None


def find_points(
    good: Tensor, defective: Tensor | None, rate: float, cost: Cost
) -> list[OperatingPoint]:
    """The operating points that people ask for.

    Args:
        good: `(N,)` held-out scores of good parts.
        defective: `(M,)` scores of defective parts; None leaves out the points that need them.
        rate: The false-alarm rate of the first point.
        cost: Prices, for the last point.

    Raises:
        ConfigError: If a rate, a price or a share is out of range.
    """
    if min(cost.miss, cost.false_alarm) < 0 or not 0 <= (cost.defective_share or 0) <= 1:
        msg = (
            f"cost.miss={cost.miss} and cost.false_alarm={cost.false_alarm} must not be negative, "
            f"and cost.defective_share={cost.defective_share} lie in [0, 1]."
        )
        raise ConfigError(msg)
    by_rate = _point("rate", rate, find_threshold(good, rate), good, defective)
    ordered = good.double().sort(descending=True).values
    lowest = ordered[-1:] if defective is None else torch.min(ordered[-1:], defective.min())
    # From no good part stopped to all of them, and every defective one with them.
    thresholds = torch.cat([ordered, torch.nextafter(lowest, lowest - 1)])
    rates = (torch.arange(len(thresholds)) + 1).double() / len(thresholds)
    chosen = {"no_false_alarm": 0}
    if defective is not None:
        n_missed = (defective[:, None].double() <= thresholds).sum(dim=0)
        n_stopped = (good[:, None].double() > thresholds).sum(dim=0)
        share = cost.defective_share
        if share is None:
            share = len(defective) / (len(defective) + len(good))
        miss_cost = cost.miss * share * n_missed / len(defective)
        costs = miss_cost + cost.false_alarm * (1 - share) * n_stopped / len(good)
        chosen["no_miss"] = int((n_missed == 0).nonzero()[0])
        chosen["least_cost"] = int(costs.argmin())
    points = [
        _point(name, float(rates[index]), float(thresholds[index]), good, defective)
        for name, index in chosen.items()
    ]
    return [by_rate, *points]


def choose_point(points: Sequence[OperatingPoint], name: str) -> OperatingPoint:
    """The point of a name.

    Raises:
        ConfigError: If the name is unknown, needs defective parts, or stops every good part.
    """
    found = {point.name: point for point in points}
    if name not in POINTS:
        msg = f"operating_point={name} is unknown; choose one of {', '.join(POINTS)}."
        raise ConfigError(msg)
    if name not in found:
        msg = f"operating_point={name} takes defective parts: add defective=DIR."
        raise ConfigError(msg)
    if found[name].rate >= 1:
        msg = (
            f"operating_point={name} would stop every good part: a defective part scores as low as "
            "any. Look at it, or choose another point."
        )
        raise ConfigError(msg)
    return found[name]


def count(n: int, total: int) -> Counts:
    """A count with the interval of Clopper and Pearson (1934), which holds at any number."""
    from scipy import stats  # type: ignore[import-untyped]  # half a second, seldom needed

    interval = stats.binomtest(n, total).proportion_ci(_LEVEL, method="exact")
    return Counts(n, total, float(interval.low), float(interval.high))


def _point(
    name: str, rate: float, threshold: float, good: Tensor, defective: Tensor | None
) -> OperatingPoint:
    stopped = count(int((good.double() > threshold).sum()), len(good))
    missed = None
    if defective is not None:
        missed = count(int((defective.double() <= threshold).sum()), len(defective))
    return OperatingPoint(name, rate, threshold, stopped, missed)
