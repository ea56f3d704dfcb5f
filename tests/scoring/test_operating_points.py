"""Operating points against plain counting over all thresholds."""

import itertools

import pytest
import torch
from scipy import stats

from fre_lightning.errors import ConfigError
from fre_lightning.scoring.operating_points import Cost, choose_point, count, find_points
from fre_lightning.scoring.threshold import find_threshold

GOOD = torch.tensor([1.0, 2.0, 3.0, 3.0, 5.0, 9.0])
DEFECTIVE = torch.tensor([4.0, 6.0, 6.0, 20.0])
COST = Cost(10, 1, None)


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    good = torch.randint(0, 30, (25,), generator=generator).float()
    return good, torch.randint(10, 60, (15,), generator=generator).float()


def points_of(good, defective, cost=COST):
    return {point.name: point for point in find_points(good, defective, 0.2, cost)}


def test_the_counts_of_a_hand_made_case():
    points = points_of(GOOD, DEFECTIVE)
    found = {n: (p.threshold, p.stopped.n, p.missed.n) for n, p in points.items()}
    assert found == {
        "rate": (9.0, 0, 3),
        "no_false_alarm": (9.0, 0, 3),
        "no_miss": (3.0, 2, 0),
        "least_cost": (3.0, 2, 0),  # 2 false alarms instead of a miss at 10
    }


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_does_better(seed):
    good, defective = draw(seed)
    points = points_of(good, defective, Cost(3, 1, 0.1))

    def counts(threshold):
        return int((good > threshold).sum()), int((defective <= threshold).sum())

    everywhere = [counts(half / 2 - 0.25) for half in range(130)]
    no_alarm, no_miss = points["no_false_alarm"], points["no_miss"]
    assert no_alarm.stopped.n == no_miss.missed.n == 0
    assert no_alarm.missed.n == min(missed for stopped, missed in everywhere if stopped == 0)
    assert no_miss.stopped.n == min(stopped for stopped, missed in everywhere if missed == 0)
    costs = [3 * 0.1 * m / len(defective) + 0.9 * s / len(good) for s, m in everywhere]
    least = points["least_cost"]
    cost = 3 * 0.1 * least.missed.n / len(defective) + 0.9 * least.stopped.n / len(good)
    assert cost == pytest.approx(min(costs))


@pytest.mark.parametrize("seed", range(5))
def test_each_is_the_threshold_of_its_rate(seed):
    """So a checkpoint stores the rate, and every program finds the threshold."""
    good, defective = draw(seed)
    for point in points_of(good, defective).values():
        if point.rate < 1:
            assert find_threshold(good, point.rate) == pytest.approx(point.threshold)


def test_prices_move_the_point():
    cheap, dear = (points_of(GOOD, DEFECTIVE, Cost(m, 1, None))["least_cost"] for m in (0.1, 1000))
    assert cheap.stopped.n == 0
    assert dear.missed.n == 0
    rare = points_of(GOOD, DEFECTIVE, Cost(10, 1, 0.001))["least_cost"]
    assert rare.stopped.n == 0


def test_intervals_are_those_of_clopper_and_pearson():
    for n, total in itertools.product((0, 3, 20), (20, 60)):
        found = count(n, total)
        low = stats.beta.ppf(0.025, n, total - n + 1) if n else 0
        high = stats.beta.ppf(0.975, n + 1, total - n) if n < total else 1
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_without_defective_parts_two_points_are_left():
    points = find_points(GOOD, None, 0.2, COST)
    assert [(p.name, p.missed) for p in points] == [("rate", None), ("no_false_alarm", None)]
    with pytest.raises(ConfigError, match="add defective=DIR"):
        choose_point(points, "no_miss")
    with pytest.raises(ConfigError, match="choose one of"):
        choose_point(points, "best")


def test_a_point_that_stops_everything_is_refused():
    points = find_points(GOOD, torch.tensor([0.5, 30.0]), 0.2, COST)
    assert (points[2].stopped.n, points[2].missed.n) == (len(GOOD), 0)
    with pytest.raises(ConfigError, match="would stop every good part"):
        choose_point(points, "no_miss")


@pytest.mark.parametrize("cost", [Cost(-1, 1, None), Cost(1, -1, None), Cost(1, 1, 1.5)])
def test_prices_out_of_range(cost):
    with pytest.raises(ConfigError, match=r"cost\.miss"):
        find_points(GOOD, DEFECTIVE, 0.2, cost)
