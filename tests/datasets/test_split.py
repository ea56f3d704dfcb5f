from pathlib import Path

import pytest

from fre_lightning.datasets import Sample
from fre_lightning.datasets.split import assemble, split_at_random, split_good
from fre_lightning.errors import ConfigError, DatasetError

SAMPLES = [Sample(Path(f"{i:03d}.png")) for i in range(952)]


def test_magnetic_tiles_split_into_762_and_190() -> None:
    train, test = split_good(SAMPLES, 0.2, seed=0)
    assert (len(train), len(test)) == (762, 190)
    assert sorted(train + test, key=SAMPLES.index) == SAMPLES
    assert train == sorted(train, key=SAMPLES.index)
    assert test == sorted(test, key=SAMPLES.index)


@pytest.mark.parametrize(("n", "fraction", "expected"), [(1, 0.9, 0), (2, 0.9, 1), (5, 0.0, 0)])
def test_something_is_left_to_learn_from(n: int, fraction: float, expected: int) -> None:
    train, test = split_good(SAMPLES[:n], fraction, seed=0)
    assert (len(train), len(test)) == (n - expected, expected)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 20])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ConfigError, match=rf"test_fraction.*{fraction}"):
        split_good(SAMPLES, fraction, seed=0)


def test_negative_seed() -> None:
    with pytest.raises(ConfigError, match="seed must not be negative"):
        split_good(SAMPLES, 0.2, seed=-1)


def defective(name: str, kind: str = "dent", *masks: str) -> Sample:
    return Sample(Path(name), kind, tuple(map(Path, masks)))


def test_splits_are_put_in_order_without_the_defects_to_learn_from() -> None:
    test = [defective("0", "dent", "a"), SAMPLES[7], defective("1", "crack", "b"), SAMPLES[4]]
    splits = assemble([SAMPLES[2], defective("2"), SAMPLES[1]], test, Path())
    assert splits.train == [SAMPLES[1], SAMPLES[2]]
    assert splits.test == [SAMPLES[4], SAMPLES[7], test[2], test[0]]
    assert splits.has_masks
    assert not assemble(SAMPLES, [defective("0")], Path()).has_masks
    assert not assemble(SAMPLES, [], Path()).has_masks


def test_a_draw_does_not_depend_on_the_order_and_tests_on_all_defects() -> None:
    samples = [*SAMPLES[:10], defective("1"), defective("0")]
    splits = split_at_random(samples, 0.3, 0, Path())
    assert splits == split_at_random(samples[::-1], 0.3, 0, Path())
    train, test = split_good(SAMPLES[:10], 0.3, seed=0)
    assert (splits.train, splits.test) == (train, [*test, defective("0"), defective("1")])


def test_nothing_to_learn_from_and_some_masks_are_refused() -> None:
    with pytest.raises(DatasetError, match="no good image to learn from"):
        assemble([defective("0")], SAMPLES, Path())
    with pytest.raises(DatasetError, match="no good image to learn from"):
        split_at_random([defective("0")], 0.5, 0, Path())
    with pytest.raises(DatasetError, match=r"1 of 2 defective images .* have no mask"):
        assemble(SAMPLES, [defective("0"), defective("1", "dent", "m")], Path())
