"""Mistakes of one kind for those of the other, counted by trying every threshold."""

import numpy as np
import pytest

from fre_lightning.metrics.workload import Workload, find_workloads


def by_trying(good, defective, percent):
    stopped, missed = [], []
    for threshold in [-1.0, *good, *defective, *(np.array(defective) - 1e-9)]:
        n_stopped = sum(score > threshold for score in good)
        n_missed = sum(score <= threshold for score in defective)
        if n_missed <= len(defective) * percent / 100:
            stopped.append(n_stopped)
        if n_stopped <= len(good) * percent / 100:
            missed.append(n_missed)
    return Workload(percent, min(stopped), min(missed))


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_does_better(seed):
    rng = np.random.default_rng(seed)
    # whole numbers, so that there are ties within kinds and between them
    good, defective = rng.integers(0, 30, 57).tolist(), rng.integers(10, 40, 23).tolist()
    percents = (0, 1, 2, 5, 10, 50, 99)
    assert find_workloads(good, defective, percents) == [
        by_trying(good, defective, percent) for percent in percents
    ]


def test_a_case_by_hand():
    good, defective = [1, 2, 3, 4, 9], [3.5, 5, 6, 7]
    assert find_workloads(good, defective, (0, 20, 25)) == [(0, 2, 4), (20, 2, 1), (25, 1, 1)]
