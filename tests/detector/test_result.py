import numpy as np

from fre_lightning.detector.result import Box, hottest_box


def test_the_box_of_the_hottest_region():
    anomaly_map = np.zeros((8, 10))
    anomaly_map[1:3, 1:3] = 2.0
    anomaly_map[5, 6], anomaly_map[6, 7] = 1.5, 3.0  # touch at a corner
    assert hottest_box(anomaly_map, 1.0, (8, 10)) == Box(6, 5, 8, 7)
    assert hottest_box(anomaly_map, 1.0, (16, 30)) == Box(18, 10, 24, 14)
    assert hottest_box(anomaly_map, 1.0, (4, 5)) == Box(3, 2, 4, 4)
    assert hottest_box(anomaly_map, 3.0, (8, 10)) is None
    assert hottest_box(anomaly_map, None, (8, 10)) is None
