"""What Prometheus reads, by its own parser."""

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import fre_lightning
from fre_lightning.experiment import run
from fre_lightning.serve.app import create_app
from fre_lightning.serve.limits import Limits
from tests.serve.conftest import HOSTS


@pytest.fixture
def fresh(fitted_run):
    """A client of a server of its own, for requests count."""
    detector = fre_lightning.load(fitted_run, device="cpu", n_threads=1)
    app = create_app(detector, Limits(2**20, 250_000, 4), HOSTS)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def read(client):
    """The value of each sample, by its name and labels."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_requests_images_and_scores_are_counted(fresh, images, detector):
    before = read(fresh)
    assert before["fre_images_total", "defective"] == before["fre_drift",] == 0
    assert before["fre_threshold",] == pytest.approx(detector.threshold)
    paths = sorted(images.rglob("*.png"))
    results = [detector(path) for path in paths]
    for path in paths:
        fresh.post("/detect", content=path.read_bytes())
    fresh.post("/detect", content=b"no image")
    after = read(fresh)
    n_defective = sum(result.is_defective for result in results)
    assert after["fre_images_total", "defective"] == n_defective
    assert after["fre_images_total", "good"] == len(paths) - n_defective
    assert after["fre_request_seconds_count", "200"] == len(paths)
    assert after["fre_request_seconds_count", "400"] == 1
    assert 0 < after["fre_request_seconds_sum", "200"] < 60
    assert after["fre_score_sum",] == pytest.approx(sum(r.score for r in results), rel=1e-5)
    assert after["fre_p_value_bucket", "0.25"] == sum(r.p_value <= 0.25 for r in results)
    # The threshold is a limit of the histogram: at most it are the good ones.
    limits = {key: value for key, value in after.items() if key[0] == "fre_score_bucket"}
    (at_most,) = (
        value
        for (_, limit), value in limits.items()
        if float(limit) == pytest.approx(detector.threshold)
    )
    assert at_most == len(paths) - n_defective


def test_drift_is_told(fresh, images):
    worst = (images / "dent/001.png").read_bytes()
    for _ in range(80):
        fresh.post("/detect", content=worst)
    after = read(fresh)
    assert (after["fre_drift",], after["fre_drift_since_image",]) == (1, 1)
    assert after["fre_drift_evidence",] > 1000


def test_without_threshold_nothing_is_missing(make_config, tmp_path, mvtec):
    run(make_config("datamodule.limit_images=2", "logger=none"))
    detector = fre_lightning.load(tmp_path / "run", device="cpu")
    app = create_app(detector, Limits(2**20, 250_000, 4), HOSTS)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        client.post("/detect", content=(mvtec / "part/test/dent/000.png").read_bytes())
        after = read(client)
    assert after["fre_images_total", "undecided"] == after["fre_score_count",] == 1
    assert after["fre_p_value_count",] == 0
    assert ("fre_drift",) not in after
