"""A change is found, and no change is seldom called one."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from fre_lightning.scoring.drift import FALSE_ALARM_CHANCE, DriftMonitor
from fre_lightning.scoring.threshold import p_values


def watch(normal, scores):
    """The monitor of a stream, after it."""
    monitor = DriftMonitor(len(normal))
    ps = p_values(torch.tensor(scores), torch.tensor(normal)).tolist()
    noticed = [i for i, p in enumerate(ps, 1) if monitor.add(p, f"{i}.png")]
    assert noticed == ([monitor.state.noticed_at] if monitor.state.noticed_at else [])
    return monitor.state


def test_capital_by_hand():
    """Two normal images, three cells; the first image is above both, the second between them."""
    monitor = DriftMonitor(2)
    slopes = [Fraction(-3, 2), Fraction(-3, 4)]
    rank = Fraction(1, 6) - Fraction(1, 2)  # half of the first cell of three
    capital = [Fraction(1, 2) / 2 * (1 + slope * rank) for slope in slopes]
    monitor.add(1 / 3)
    assert monitor.state.evidence == pytest.approx(float(sum(capital) + Fraction(1, 2)) / 2)
    # The cells now hold 2, 1 and 1 of 4; the middle of the second is at 2.5 of 4.
    rank = Fraction(5, 8) - Fraction(1, 2)
    pairs = zip(capital, slopes, strict=True)
    capital = [(old + Fraction(1, 6) / 2) * (1 + slope * rank) for old, slope in pairs]
    higher = float(sum(capital) + Fraction(1, 3)) / 2
    monitor.add(2 / 3)
    # Within the stream its rank is somewhere in the lower half.
    lower = [
        sum(((1 + s * (first - 0.5)) / 4 + 1 / 12) * (1 + s * (second - 0.5)) for s in (0.75, 1.5))
        for first, second in ((0.0, 0.5), (1.0, 1.0))
    ]
    bounds = [max(higher, (value + 1 / 3) / 2) for value in lower]
    assert bounds[0] <= monitor.state.evidence <= bounds[1]


def test_higher_scores_are_bet_on_without_advantage():
    """The mean capital over what may come next, weighted by its probability, is what it is."""

    def after(cells):
        monitor = DriftMonitor(2)
        for cell in cells:
            monitor.add((cell + 1) / 3)
        return monitor.state.evidence

    past = [0, 0, 1, *[0] * 12]  # the other test's capital is less
    weights = np.array([1 + past.count(cell) for cell in range(3)]) / (3 + len(past))
    expected = sum(w * after([*past, cell]) for cell, w in enumerate(weights))
    assert expected == pytest.approx(after(past))


def test_scores_that_are_lower_from_the_first_on_are_no_drift():
    """Held-out scores are higher than those of new images, by as much as there are few of them."""
    rng = np.random.default_rng(4)
    state = watch(rng.normal(size=60) + 1, rng.normal(size=2000))
    assert state.noticed_at is None


@pytest.mark.parametrize(("n_normal", "share"), [(10, 0.0), (100, 0.0), (100, 0.03)])
def test_streams_without_change_raise_no_alarm(n_normal, share):
    """Nor do those of which a share is defective: by Ville, one of 40 exceeds 40."""
    rng = np.random.default_rng(n_normal)
    n_above = 0
    for _ in range(40):
        scores = rng.normal(size=500)
        scores[rng.random(500) < share] = 99.0
        state = watch(rng.normal(size=n_normal), scores)
        assert state.noticed_at is None
        n_above += state.evidence > 40
    assert n_above <= 4


@pytest.mark.parametrize(("shift", "word"), [(2.0, "higher"), (-2.0, "lower")])
def test_a_shift_is_found_and_dated(shift, word):
    rng = np.random.default_rng(1)
    delays, errors = [], []
    for _ in range(10):
        scores = rng.normal(size=300) + shift * (np.arange(1, 301) > 200)
        state = watch(rng.normal(size=60), scores)
        delays.append(state.noticed_at - 200)
        errors.append(abs(state.since - 201))
        assert (state.scores, state.since_image) == (word, f"{state.since}.png")
        assert state.evidence > 1 / FALSE_ALARM_CHANCE
    assert 15 < np.median(delays) < 50
    assert np.median(errors) <= 5


def test_other_images_from_the_first_on():
    rng = np.random.default_rng(2)
    state = watch(rng.normal(size=30), rng.normal(size=100) + 3)
    assert state.since == 1
    assert state.noticed_at < 50


def test_many_more_defects_are_drift():
    rng = np.random.default_rng(3)
    share = np.where(np.arange(600) < 300, 0.02, 0.4)
    scores = np.where(rng.random(600) < share, 99.0, rng.normal(size=600))
    state = watch(rng.normal(size=100), scores)
    assert 300 < state.noticed_at < 420
    assert state.scores == "higher"


def test_a_long_change_overflows_nothing():
    monitor = DriftMonitor(3)
    for _ in range(5000):
        monitor.add(0.75)
    for _ in range(5000):
        monitor.add(0.25)
    assert math.isfinite(monitor.state.evidence)
