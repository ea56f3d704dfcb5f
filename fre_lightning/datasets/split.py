"""The random split of good images for datasets that come without one."""

from collections.abc import Sequence

import numpy as np

from fre_lightning.datasets.base import Sample
from fre_lightning.errors import ConfigError


def split_good(
    samples: Sequence[Sample], test_fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Split good images at random, the same way for the same seed and number of images.

    The first `round(test_fraction * N)` of a random permutation are for testing, but never all.

    Args:
        samples: The `N` good images, sorted by path.
        test_fraction: The share for testing, in [0, 1).
        seed: Seed of the permutation.

    Returns:
        The images to learn from and the images to test on, each sorted by path.

    Raises:
        ConfigError: If the fraction is out of range or the seed negative.
    """
    if not 0 <= test_fraction < 1:
        msg = f"dataset.test_fraction must be at least 0 and below 1; got {test_fraction}."
        raise ConfigError(msg)
    if seed < 0:
        msg = f"dataset.seed must not be negative; got {seed}."
        raise ConfigError(msg)
    order = np.random.default_rng(seed).permutation(len(samples))
    n_test = min(round(test_fraction * len(samples)), len(samples) - 1)
    train, test = ([samples[i] for i in sorted(part)] for part in (order[n_test:], order[:n_test]))
    return train, test
