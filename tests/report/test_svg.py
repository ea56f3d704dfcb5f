import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fre_lightning.report.svg import HEIGHT, WIDTH, Axis, Line, format_number, histogram, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def parse(markup):
    root = ElementTree.fromstring(str(markup))
    assert root.tag == f"{SVG}svg"
    return root


def curve_points(root):
    (polyline,) = root.iter(f"{SVG}polyline")
    return np.array([pair.split(",") for pair in polyline.get("points").split()], float)


def bars(root, name):
    (group,) = (g for g in root.iter(f"{SVG}g") if g.get("class") == f"bars {name}")
    return [{k: float(v) for k, v in rect.attrib.items()} for rect in group]


def inside(root):
    """All numbers that are positions lie in the view box."""
    width, height = (float(v) for v in root.get("viewBox").split()[2:])
    limits = {"x": width, "x1": width, "x2": width, "cx": width}
    limits |= {"y": height, "y1": height, "y2": height, "cy": height}
    return all(
        -0.01 <= float(element.get(name)) <= limit
        for element in root.iter()
        for name, limit in limits.items()
        if element.get(name) is not None
    )


def test_a_curve_keeps_its_shape_and_stays_in_the_frame():
    x = np.linspace(0, 0.3, 50)
    y = np.sqrt(x / 0.3)
    root = parse(line_chart("PRO", [Line("a", x, y, (0.15, 0.5))], "fpr", "overlap", 0.3))
    points = curve_points(root)
    assert inside(root)
    assert (np.diff(points[:, 0]) >= 0).all()
    assert (np.diff(points[:, 1]) <= 0).all()  # up is less in SVG
    for drawn, values in ((points[:, 0], x), (-points[:, 1], y)):
        shares = (drawn - drawn[0]) / (drawn[-1] - drawn[0])
        np.testing.assert_allclose(shares, values / values[-1], atol=0.002)
    (point,) = root.iter(f"{SVG}circle")
    assert float(point.get("cx")) == pytest.approx(points[[0, -1], 0].mean(), abs=0.1)
    assert float(point.get("cy")) == pytest.approx(points[[0, -1], 1].mean(), abs=0.1)


def test_many_lines_are_told_apart_and_listed():
    lines = [Line(f"run {i}", [0, 1], [0, 1]) for i in range(24)]
    root = parse(line_chart("ROC", lines, "fpr", "tpr"))
    styles = {line.get("class") for line in root.iter(f"{SVG}polyline")}
    assert len(styles) == 24
    assert {f"run {i}" for i in range(24)} <= {text.text for text in root.iter(f"{SVG}text")}
    assert inside(root)


def test_labels_are_escaped_and_shortened_but_for_their_number():
    label = "<script>alert(1)</script>&" + "x" * 100 + " 0.9876"
    root = parse(line_chart('"<b>', [Line(label, [0, 1], [0, 1])], "<x>", "&y"))
    assert root.find(f"{SVG}title").text == '"<b>'
    assert root.find(f".//{SVG}script") is None
    (shown,) = (t.text for t in root.iter(f"{SVG}text") if "script" in (t.text or ""))
    assert len(shown) < 50
    assert shown.endswith(" 0.9876")


@pytest.mark.parametrize(
    ("good", "defective"),
    [
        ([1.0, 2, 2, 3], [2.5, 4, 5]),
        ([1.0, 2, 3], [90, 100.0, 1000, 1e5]),  # logarithmic
        ([-3.0, -1, 0], [0, 2.0]),
        ([0.0, 0, 0], [0.0]),
        ([5.0, 5], []),
        ([], [7.0, 9]),
        ([1e-30, 2e-30], [1e30]),
    ],
)
@pytest.mark.parametrize("threshold", [None, 2.25, 1e6])
def test_a_histogram_counts_every_image(good, defective, threshold):
    root = parse(histogram(good, defective, threshold))
    assert inside(root)
    for name, scores in (("good", good), ("defective", defective)):
        heights = np.array([bar["height"] for bar in bars(root, name)])
        expected = count(scores, [*good, *defective], threshold)
        assert len(heights) == len(expected)
        np.testing.assert_allclose(heights / height_of_one(root), expected, atol=0.03)


def height_of_one(root):
    """What the labels of the vertical axis make of one image."""
    labels = [e for e in root.iter(f"{SVG}text") if e.get("text-anchor") == "end"]
    places = {float(e.text): float(e.get("y")) for e in labels if e.get("class") == "tick"}
    highest = max(places)
    return abs(places[highest] - places[0]) / highest


def count(scores, drawn, threshold, n_bins=36):
    """Images in each bar that holds any, counted by NumPy in equal steps along the drawn axis."""
    seen = np.array([*drawn, *([] if threshold is None else [threshold])])
    is_log = seen.min() > 0 and seen.max() > 8 * seen.min()
    scale = np.log if is_log else np.asarray
    low, high = scale(seen.min()), scale(seen.max())
    room = 0.02 * (high - low) or abs(high) * 0.01 or 1.0
    counts, _ = np.histogram(scale(scores), n_bins, (low - room, high + room))
    return counts[counts > 0]


def test_good_images_stand_on_the_line_and_defective_ones_hang_from_it():
    root = parse(histogram([1, 1.2, 2], [2, 3, 3.5], 1.9))
    up, down = bars(root, "good"), bars(root, "defective")
    zero = up[0]["y"] + up[0]["height"]
    assert all(bar["y"] + bar["height"] == pytest.approx(zero, abs=0.15) for bar in up)
    assert all(bar["y"] == pytest.approx(zero, abs=0.15) for bar in down)
    (mark,) = (e for e in root.iter(f"{SVG}line") if e.get("class") == "threshold")
    assert up[1]["x"] < float(mark.get("x1")) < down[0]["x"] + down[0]["width"]
    assert "the threshold is 1.9" in root.find(f"{SVG}desc").text


def test_axes():
    log = Axis(1, 100, 0, 10, is_log=True)
    assert [log(v) for v in (1, 10, 100, 1000, 0.1)] == pytest.approx([0, 5, 10, 10, 0])
    for axis in (Axis(0, 1, 0, 9), Axis(-3, 17, 0, 9), Axis(8.1, 8.3, 0, 9), log):
        ticks = axis.ticks(5)
        assert 3 <= len(ticks) <= 9
        assert ticks == sorted(set(ticks))
        assert all(axis.low <= tick <= axis.high for tick in ticks)
    assert Axis(0, 0.3, 0, 9).ticks(5) == [0, 0.1, 0.2, 0.3]
    assert len(Axis(1e-30, 1e30, 0, 9, is_log=True).ticks(6)) >= 2


def test_numbers_read_well():
    values = {0.12344: "0.1234", 37.0139: "37.01", 9799.6: "9800", 123456.0: "123456", 1e9: "1e+09"}
    assert {value: format_number(value) for value in values} == values


def test_style_sheet_knows_all_classes():
    from importlib import resources

    style = resources.files("fre_lightning.report").joinpath("templates/style.css").read_text()
    lines = [Line(str(i), [0, 1], [0, 1], (0, 1)) for i in range(24)]
    for chart in (histogram([1], [2], 1.5), line_chart("t", lines, "x", "y")):
        for names in re.findall(r'class="([^"]+)"', chart):
            for name in set(names.split()) - {"tick", "label", "key", "bars", "d0"}:
                assert f".{name} " in style, name
    assert WIDTH > HEIGHT > 0
