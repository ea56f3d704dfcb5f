"""What a detector costs in parts: good ones stopped for defective ones found, at any threshold.

A threshold is worth what it does on a line. So beside the AUROC, which averages over thresholds
that nobody would use, stands how many good parts are stopped if at most n % of the defective ones
may be missed, and the reverse.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PERCENTS = (0, 1, 2, 5, 10)


class Workload(NamedTuple):
    """The best that any threshold does if it may make some mistakes of the other kind.

    Attributes:
        percent: The share of parts of the other kind that may be judged wrongly.
        n_stopped: Good parts stopped, if at most so many of the defective ones may be missed.
        n_missed: Defective parts missed, if at most so many of the good ones may be stopped.
    """

    percent: int
    n_stopped: int
    n_missed: int


def find_workloads(
    good: Sequence[float], defective: Sequence[float], percents: Sequence[int] = PERCENTS
) -> list[Workload]:
    """Count both kinds of mistakes at the thresholds that allow some of the other.

    A part is stopped if its score exceeds the threshold.

    Args:
        good: Scores, at least one.
        defective: Scores, at least one.
        percents: Whole percents below 100. Parts are allowed in whole numbers: 2 % of 60 is one.
    """
    passing, found = np.sort(good)[::-1], np.sort(defective)
    workloads = []
    for percent in percents:
        lowest_found = found[len(found) * percent // 100]
        highest_passing = passing[len(passing) * percent // 100]
        n_stopped = int((passing >= lowest_found).sum())
        workloads.append(Workload(percent, n_stopped, int((found <= highest_passing).sum())))
    return workloads
