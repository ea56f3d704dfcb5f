"""The page in a browser."""

import os

import pytest
from PIL import Image

from tests.serve.browser import EXECUTABLE, open_browser

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def opened(page, url):
    page.open(f"{url}/")
    page.wait_for("document.querySelector('#detector').textContent.includes('threshold')")
    return page


def text(page, name):
    return page.evaluate(f"document.querySelector('#{name}').textContent")


def test_an_image_is_judged_and_shown(opened, images, detector, tmp_path):
    path = tmp_path / "part.png"
    Image.open(images / "dent/001.png").resize((320, 240), Image.Resampling.NEAREST).save(path)
    result = detector(path)
    opened.choose_file("#file", path)
    opened.wait_for("!document.querySelector('#result').hidden")
    opened.wait_for("document.querySelector('#image').complete")
    assert text(opened, "decision") == ("Defective" if result.is_defective else "Good")
    assert float(text(opened, "score")) == pytest.approx(result.score, rel=1e-4)
    assert float(text(opened, "threshold")) == pytest.approx(result.threshold, rel=1e-4)
    assert text(opened, "about") == "part.png, 320 × 240"  # noqa: RUF001 - the page uses it
    x0, y0, x1, y1 = result.box
    assert text(opened, "where") == f"x {x0} to {x1}, y {y0} to {y1}"
    rectangles = opened.evaluate(
        "['image', 'heat', 'box'].map((name) => {"
        " const r = document.getElementById(name).getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height]; })"
    )
    image, heat, box = rectangles
    assert heat == pytest.approx(image, abs=1)
    scale = image[2] / 320
    expected = [image[0] + x0 * scale, image[1] + y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale]
    assert box == pytest.approx(expected, abs=1.5)
    opened.evaluate("opacity.value = 30, opacity.dispatchEvent(new Event('input'))")
    assert opened.evaluate("heat.style.opacity") == "0.3"
    opened.evaluate("outline.click()")
    assert opened.evaluate("box.hidden") is True
    assert opened.complaints == []
    if "FRE_SCREENSHOT" in os.environ:
        opened.screenshot(os.environ["FRE_SCREENSHOT"])


def test_a_good_image_after_an_error(opened, images, detector, tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    opened.choose_file("#file", tmp_path / "notes.png")
    opened.wait_for("!document.querySelector('#error').hidden")
    assert "notes.png: This is no PNG" in text(opened, "error")
    assert opened.evaluate("document.querySelector('#result').hidden") is True
    opened.choose_file("#file", images / "good/000.png")
    opened.wait_for("!document.querySelector('#result').hidden")
    assert opened.evaluate("document.querySelector('#error').hidden") is True
    expected = "Defective" if detector(images / "good/000.png").is_defective else "Good"
    assert text(opened, "decision") == expected
    # The browser itself logs that a request was answered with 400.
    assert all("400" in str(complaint) for complaint in opened.complaints)


def test_every_control_has_a_name(opened, images):
    opened.choose_file("#file", images / "good/000.png")
    opened.wait_for("!document.querySelector('#result').hidden")
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "checkbox", "textbox", "img", "image"}
    shown = [n for n in nodes if not n["ignored"] and n.get("role", {}).get("value") in roles]
    assert len(shown) >= 5
    assert all(node.get("name", {}).get("value") for node in shown), shown
