import numpy as np
import pytest

from fre_lightning.export.parity import compare


def runner(scores, factor=1.0):
    def run(images):
        values = scores * images[:, 0, 0, 0].astype(np.float32)
        return values, np.ones((len(images), 2, 2), np.float32) * values[:, None, None] * factor

    return run


IMAGES = [np.full((4, 4 + i % 2, 3), i + 1, np.uint8) for i in (0, 2, 4, 6, 8, 1)]


def test_largest_differences_are_relative():
    parity = compare(runner(1.0), runner(1.01, 1.02), IMAGES)
    assert parity.score == pytest.approx(0.01, rel=1e-3)
    assert parity.anomaly_map == pytest.approx(1.01 * 1.02 - 1, rel=1e-3)
    assert compare(runner(1.0), runner(1.0), IMAGES).worst == 0


def test_one_and_several_images_are_tried():
    sizes = []

    def run(images):
        sizes.append(len(images))
        return runner(1.0)(images)

    compare(run, runner(1.0), IMAGES)
    assert sizes == [3, 2, 1]


def test_nan_is_no_agreement():
    assert compare(runner(1.0), runner(float("nan")), IMAGES).worst == float("inf")
