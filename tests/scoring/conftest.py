"""Scoring rules to test with."""

import pytest

from fre_lightning.scoring import Scoring


@pytest.fixture
def make():
    """Build a rule from the settings that matter to a test."""

    def build(statistic="top", top_fraction=0.1, position_norm=0.5, **others):
        settings = {"fusion": "mean", "weights": None, "smoothing": 0.0} | others
        return Scoring("test", statistic, top_fraction, position_norm, **settings)

    return build


@pytest.fixture
def paper(make):
    """The published rule: the plain sum of a map."""
    return make("sum", position_norm=None)


@pytest.fixture(params=["paper", "top"])
def scoring(request, make):
    """The published rule, and one that learns what is normal."""
    return make() if request.param == "top" else make("sum", position_norm=None)
