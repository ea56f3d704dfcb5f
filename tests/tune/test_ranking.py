import pytest

from fre_lightning.errors import ConfigError
from fre_lightning.tune.ranking import CRITERIA, check_criterion, order
from fre_lightning.tune.trial import Trial

TRIALS = [Trial(0.3, 0.9, 1), Trial(0.1, 0.8, 1), Trial(0.2, 0.99, 1), Trial(0.4, 0.7, 1)]


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [("spread", [1, 2, 0, 3]), ("defects", [2, 0, 1, 3]), ("both", [2, 1, 0, 3])],
)
def test_order(criterion, expected):
    check_criterion(criterion)
    assert order(TRIALS, criterion) == expected


def test_of_equal_ranks_in_both_the_one_that_sees_more_is_first():
    assert order([Trial(0.1, 0.8, 1), Trial(0.2, 0.9, 1)], "both") == [1, 0]


def test_a_criterion_that_there_is_not():
    with pytest.raises(ConfigError, match=f"choose one of {', '.join(CRITERIA)}"):
        check_criterion("auroc")
