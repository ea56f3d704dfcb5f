import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fre_lightning.detector.result import Box, DetectionResult, hottest_box


def make_result(**changes):
    anomaly_map, pixels = np.ones((4, 4), np.float32), np.zeros((4, 4, 3), np.uint8)
    values = {"score": 12.0, "p_value": 0.01, "threshold": 3.0, "is_defective": True}
    values |= {"anomaly_map": anomaly_map, "pixel_threshold": 0.5, "box": None}
    return DetectionResult(**values | changes, image_size=(8, 8), pixels=pixels)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "defective: score 12 > threshold 3, p = 0.01"),
        ({"score": 2.5, "is_defective": False}, "good: score 2.5 <= threshold 3, p = 0.01"),
        ({"p_value": None}, "defective: score 12 > threshold 3"),
        ({"threshold": None, "is_defective": None}, "undecided: score 12, without a threshold"),
    ],
)
def test_the_verdict_says_what_was_decided_and_why(changes, verdict):
    assert make_result(**changes).verdict == verdict


def test_a_notebook_shows_the_picture_by_itself():
    result = make_result()
    shown = np.asarray(Image.open(io.BytesIO(result._repr_jpeg_())), dtype=float)
    assert np.abs(shown - np.asarray(result.picture)).mean() < 2


def test_show_opens_a_viewer_or_writes_below_the_cell(monkeypatch, capsys):
    result, shown = make_result(), []
    monkeypatch.setattr(Image.Image, "show", lambda _, title: shown.append(title))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    result.show()
    assert (capsys.readouterr().out, shown) == (f"{result.verdict}\n", [])
    monkeypatch.setenv("DISPLAY", ":0")
    result.show()
    assert shown == [result.verdict]
    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    display = SimpleNamespace(display=shown.append)
    for name, module in (("IPython", ipython), ("IPython.display", display)):
        monkeypatch.setitem(sys.modules, name, module)
    result.show()
    assert shown[1:] == [result]


def test_the_box_of_the_hottest_region():
    anomaly_map = np.zeros((8, 10))
    anomaly_map[1:3, 1:3] = 2.0
    anomaly_map[5, 6], anomaly_map[6, 7] = 1.5, 3.0  # touch at a corner
    assert hottest_box(anomaly_map, 1.0, (8, 10)) == Box(6, 5, 8, 7)
    assert hottest_box(anomaly_map, 1.0, (16, 30)) == Box(18, 10, 24, 14)
    assert hottest_box(anomaly_map, 1.0, (4, 5)) == Box(3, 2, 4, 4)
    assert hottest_box(anomaly_map, 3.0, (8, 10)) is None
    assert hottest_box(anomaly_map, None, (8, 10)) is None
