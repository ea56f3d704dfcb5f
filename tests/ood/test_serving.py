"""A run of `fre_lightning.ood` behind HTTP: what it answers, and its page."""

import base64
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hydra import compose, initialize_config_dir
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

import fre_lightning
from fre_lightning.config import CONFIG_DIR
from fre_lightning.errors import ConfigError
from fre_lightning.serve.app import create_app
from fre_lightning.serve.job import run
from fre_lightning.serve.limits import Limits
from tests.ood.conftest import read
from tests.serve.browser import EXECUTABLE, open_browser
from tests.serve.conftest import HOSTS, serving


@pytest.fixture(scope="module")
def detector(finished):
    return fre_lightning.load(finished[0], device="cpu", n_threads=2)


@pytest.fixture
def client(detector):
    app = create_app(detector, Limits(2**16, 100, 8), HOSTS)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def test_answers_are_those_of_the_table(client, finished, data):
    rows = {row["path"]: row for row in read(finished[0] / "scores.csv") if row["set"] == "known"}
    for name in ("test/flat/00.png", "test/up/03.png"):
        answer = client.post("/detect", content=(data / "known" / name).read_bytes()).json()
        row = rows[name]
        assert answer["label"] == row["class"]
        assert answer["score"] == pytest.approx(float(row["fre_by_class"]), rel=1e-3)
        assert 0.3 < answer["confidence"] <= 1
        assert answer["is_unknown"] == (answer["p_value"] <= 0.05)
        assert (answer["width"], answer["height"], answer["pictures"]) == (8, 8, None)


def test_files_of_forms_from_several_threads(client, detector, data):
    paths = [*sorted((data / "noise").iterdir()), *sorted((data / "steep").iterdir())]
    expected = detector.detect_batch(paths)

    def ask(path):
        for _ in range(200):
            response = client.post("/detect", files={"file": ("x.png", path.read_bytes())})
            if response.status_code != 503:
                return response.json()
        return None

    with ThreadPoolExecutor(4) as pool:
        for answer, result in zip(pool.map(ask, paths), expected, strict=True):
            assert (answer["label"], answer["is_unknown"]) == (result.label, result.is_unknown)
            assert answer["score"] == pytest.approx(result.score, rel=1e-4)


def test_the_image_is_shown_and_heat_maps_are_refused(client, data):
    content = (data / "steep/00.png").read_bytes()
    pictures = client.post("/detect?pictures=true", content=content).json()["pictures"]
    assert list(pictures) == ["image"]
    shown = Image.open(BytesIO(base64.b64decode(pictures["image"].partition(",")[2])))
    pixels = np.asarray(Image.open(data / "steep/00.png"), int)
    assert np.abs(np.asarray(shown.convert("L"), int) - pixels).mean() < 4
    refused = client.post("/detect", content=content, headers={"accept": "image/png"})
    assert (refused.status_code, "no heat maps" in refused.json()["detail"]) == (406, True)


def test_limits_hold(client):
    assert client.post("/detect", content=bytes(2**16 + 1)).status_code == 413
    assert client.post("/detect", content=b"no image").status_code == 400
    large = BytesIO()
    Image.new("L", (11, 10)).save(large, "PNG")
    assert client.post("/detect", content=large.getvalue()).status_code == 413
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_health_says_what_is_served(client, detector):
    health = client.get("/health").json()
    assert (health["task"], health["method"]) == ("ood", "fre_by_class")
    assert (health["classes"], health["threshold"]) == (["flat", "right", "up"], None)
    assert (health["detector"], health["false_alarm_rate"]) == (detector.description, 0.05)
    assert client.get("/ready").status_code == 200
    schema = client.get("/openapi.json").json()["components"]["schemas"]
    assert "confidence" in schema["ClassAnswer"]["properties"]


def test_metrics_count_decisions_classes_and_scores(client, detector, data):
    paths = sorted((data / "noise").iterdir()) + sorted((data / "known/test/up").iterdir())
    results = detector.detect_batch(paths)
    for path in paths:
        client.post("/detect", content=path.read_bytes())
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    n_unknown = sum(result.is_unknown for result in results)
    assert samples["fre_images_total", "unknown"] == n_unknown
    assert samples["fre_images_total", "known"] == len(paths) - n_unknown
    for label in {result.label for result in results}:
        assert samples["fre_classes_total", label] == sum(r.label == label for r in results)
    assert samples["fre_score_sum",] == pytest.approx(sum(r.score for r in results), rel=1e-4)
    limits = sorted(float(key[1]) for key in samples if key[0] == "fre_score_bucket")
    assert limits[-2] == pytest.approx(float(detector.held_out_scores.max()), rel=1e-5)
    assert ("fre_threshold",) not in samples


def test_a_run_without_held_out_images_answers_without_decision(call, data):
    call("undecided", "held_out=0", "report=false", "training.epochs=1")
    app = create_app(
        fre_lightning.load(data / "undecided", device="cpu"), Limits(2**16, 100, 4), HOSTS
    )
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        answer = client.post("/detect", content=(data / "noise/00.png").read_bytes()).json()
    assert (answer["p_value"], answer["is_unknown"]) == (None, None)
    assert answer["label"] in {"flat", "right", "up"}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("threshold=3", "no detector of defects: leave out"),
        ("method=no", "no is none of"),
    ],
)
def test_mistakes(finished, override, words):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("serve", [f"checkpoint={finished[0]}", "port=0", override])
    with pytest.raises(ConfigError, match=words):
        run(cfg)


@pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed")
def test_the_page_names_the_class(detector, data, tmp_path):
    def get(name, of="textContent"):
        return page.evaluate(f"document.querySelector('#{name}').{of}")

    app = create_app(detector, Limits(2**16, 100, 8), HOSTS)
    with serving(app) as url, open_browser(tmp_path) as page:
        page.open(f"{url}/")
        page.wait_for("document.querySelector('#detector').textContent.includes('flat, right, up')")
        assert get("title") == "Known or unknown"
        for name in ("noise/00.png", "known/test/up/03.png"):
            result = detector(data / name)
            page.choose_file("#file", data / name)
            page.wait_for(f"document.querySelector('#about').textContent.startsWith('{name[-6:]}')")
            expected = "Unknown" if result.is_unknown else f"Known: {result.label}"
            assert get("decision") == expected
            assert float(get("score")) == pytest.approx(result.score, rel=1e-4)
            assert get("label").startswith(f"{result.label}, confidence ")
            hidden = ("heat", "box", "scale", "threshold", "opacity")
            assert not any(get(one, "checkVisibility()") for one in hidden)
        assert page.complaints == []
