"""Values to 8 bits: by hand, and equal for every depth that holds the same picture."""

import numpy as np
import pytest

from fre_lightning.images.intensity import Intensity, in_units, to_levels
from fre_lightning.images.notices import n_outside, start_run

TWELVE = Intensity(0, 4095, deep_only=True)


def test_ends_become_black_and_white_and_what_lies_outside_too():
    values = np.array([[-3.0, 10.0, 15.0, 30.0, 31.0, np.nan]])
    levels = to_levels(values, Intensity(10, 30, deep_only=True))
    assert levels.tolist() == [[0, 0, 64, 255, 255, 0]]
    assert levels.dtype == np.uint8


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_each_depth_gives_the_levels_of_8_bits(bits):
    picture = np.random.default_rng(0).random((50, 40))
    deep = np.rint(picture * (2**bits - 1)).astype(np.uint16)
    levels = to_levels(deep, Intensity(0, 2**bits - 1, deep_only=True))
    assert np.abs(levels - picture * 255).max() <= 0.5 + 255 / 2 / (2**bits - 1) + 1e-4


def test_8_bits_stay_as_they_are_unless_a_range_was_given():
    values = np.arange(256, dtype=np.uint8)[None]
    assert to_levels(values, None) is values
    assert to_levels(values, TWELVE) is values
    given = to_levels(values, Intensity(100, 200, deep_only=False))
    assert given[0, [99, 100, 150, 200, 201]].tolist() == [0, 0, 128, 255, 255]


def test_images_outside_of_the_range_are_counted_and_told_of_once(caplog):
    start_run()
    image = np.zeros((100, 100), np.uint16)
    image[0, :50] = 9000
    to_levels(image, TWELVE, "a.png")  # 0.5 % is a hot pixel or two
    assert n_outside() == 0
    image[1] = 9000
    for name in ("b.png", "c.png"):
        to_levels(image, TWELVE, name)
    assert n_outside() == 2
    (warning,) = caplog.messages
    assert "b.png has levels from 0 to 9000, outside of 0 to 4095" in warning
    start_run()
    assert n_outside() == 0


def test_units_and_levels_are_each_others_inverse():
    levels = np.arange(256, dtype=np.uint8)[None]
    for intensity in (TWELVE, Intensity(-5, 7.5, deep_only=True)):
        np.testing.assert_array_equal(to_levels(in_units(levels, intensity), intensity), levels)


def test_a_range_is_stored_as_plain_numbers():
    assert Intensity.from_dict(TWELVE._asdict()) == TWELVE
    assert Intensity.from_dict(None) is None
