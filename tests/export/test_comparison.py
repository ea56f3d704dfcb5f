import numpy as np
import pytest

from fre_lightning.export.comparison import largest_differences


def runner(scores, factor=1.0):
    def run(images):
        values = scores * images[:, 0, 0, 0].astype(np.float32)
        return values, np.ones((len(images), 2, 2), np.float32) * values[:, None, None] * factor

    return run


IMAGES = [np.full((4, 4 + i % 2, 3), i + 1, np.uint8) for i in (0, 2, 4, 6, 8, 1)]


def test_largest_differences_are_relative():
    found = largest_differences(runner(1.0), runner(1.01, 1.02), IMAGES)
    assert found == pytest.approx((0.01, 1.01 * 1.02 - 1), rel=1e-3)
    assert largest_differences(runner(1.0), runner(1.0), IMAGES) == (0, 0)


def test_one_and_several_images_are_tried():
    sizes = []

    def run(images):
        sizes.append(len(images))
        return runner(1.0)(images)

    largest_differences(run, runner(1.0), IMAGES)
    assert sizes == [3, 2, 1]


def test_nan_is_no_agreement():
    nan, infinite = float("nan"), float("inf")
    assert largest_differences(runner(1.0), runner(nan), IMAGES) == (infinite, infinite)
    assert largest_differences(runner(1.0), runner(1.0, nan), IMAGES) == (0, infinite)
