from pathlib import Path

import pytest

from fre_lightning.datasets import Sample
from fre_lightning.datasets.split import split_good
from fre_lightning.errors import ConfigError

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
