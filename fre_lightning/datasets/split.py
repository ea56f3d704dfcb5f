"""How samples become splits, at random where a dataset comes without."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fre_lightning.datasets.base import Sample, Splits
from fre_lightning.errors import ConfigError, DatasetError


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


def assemble(train: Iterable[Sample], test: Iterable[Sample], source: Path) -> Splits:
    """The splits of samples in any order; defective ones to learn from are left out.

    Args:
        train: The samples to learn from.
        test: The samples to test on.
        source: The folder or table that they come from.

    Raises:
        DatasetError: If there is no good image to learn from, or only some of the defective ones
            have masks: pixel metrics of these alone would mislead.
    """
    good = sorted((sample for sample in train if not sample.label), key=lambda s: s.path)
    if not good:
        msg = (
            f"{source.absolute()} has no good image to learn from. Add some, or correct the labels."
        )
        raise DatasetError(msg)
    tested = sorted(test, key=lambda s: (s.label, s.defect_type, s.path))
    missing = [sample.path for sample in tested if sample.label and not sample.mask_paths]
    has_masks = any(sample.mask_paths for sample in tested)
    if missing and has_masks:
        msg = (
            f"{len(missing)} of {sum(sample.label for sample in tested)} defective images of "
            f"{source.absolute()} have no mask, for example {missing[0]}. Add them, or have none."
        )
        raise DatasetError(msg)
    return Splits(good, tested, has_masks)


def split_at_random(
    samples: Iterable[Sample], test_fraction: float, seed: int, source: Path
) -> Splits:
    """The splits of samples in any order: a random fraction of the good ones is tested on.

    Args:
        samples: Good and defective ones.
        test_fraction: The share of the good ones for testing, in [0, 1).
        seed: Seed of the draw.
        source: The folder or table that they come from.

    Raises:
        ConfigError: If the fraction is out of range or the seed negative.
        DatasetError: As `assemble`.
    """
    ordered = sorted(samples, key=lambda sample: (sample.label, sample.path))
    n_good = sum(not sample.label for sample in ordered)
    train, test = split_good(ordered[:n_good], test_fraction, seed)
    return assemble(train, [*test, *ordered[n_good:]], source)
