import math

import pytest

from fre_lightning.images.aspect import common_ratio, size_of_ratio


@pytest.mark.parametrize(
    ("sizes", "ratio"),
    [
        ([], 1),
        ([(20, 10)], 2),
        ([(10, 30), (5, 5), (10, 20)], 1 / 2),
        ([(10, 20), (40, 20)], 1),  # either way, as often
        ([(500, 1250), (500, 1250), (1, 9000)], 0.4),
    ],
)
def test_the_common_ratio_is_the_median_of_logarithms(sizes, ratio):
    assert common_ratio(sizes) == pytest.approx(ratio)
    assert common_ratio([(w, h) for h, w in sizes]) == pytest.approx(1 / ratio)


@pytest.mark.parametrize(
    ("ratio", "side", "cell", "size"),
    [
        (1, 256, 32, (256, 256)),
        (500 / 1250, 256, 32, (160, 416)),  # of 161.9 x 404.8
        (500 / 1250, 256, 16, (160, 400)),
        (3, 256, 16, (448, 144)),  # of 443.4 x 147.8
        (1 / 3, 224, 14, (126, 392)),  # a transformer's patches, of 129.3 x 388.0
        (0.001, 256, 32, (32, 8096)),  # of 8.1 x 8095.4: no side without a cell
    ],
)
def test_sizes_in_whole_cells(ratio, side, cell, size):
    assert size_of_ratio(ratio, side**2, cell) == size
    assert size_of_ratio(1 / ratio, side**2, cell) == size[::-1]


@pytest.mark.parametrize("ratio", [0.15, 0.31, 0.5, 0.77, 1.3, 2.73, 6])
def test_pixels_and_ratio_are_about_as_asked_for(ratio):
    """Each side is off by half a cell at most."""
    height, width = size_of_ratio(ratio, 256**2, 16)
    assert (height % 16, width % 16) == (0, 0)
    assert abs(height - math.sqrt(256**2 * ratio)) <= 8
    assert abs(width - math.sqrt(256**2 / ratio)) <= 8
