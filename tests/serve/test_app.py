"""What the server answers, and what it refuses."""

import base64
import hashlib
import re
import threading
import zlib
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from io import BytesIO

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageFile

from fre_lightning.detector.detector import Detector
from fre_lightning.errors import ConfigError
from fre_lightning.serve.app import create_app
from fre_lightning.serve.job import find_allowed_hosts, is_loopback, listen
from fre_lightning.serve.limits import Limits
from tests.serve.conftest import HOSTS


def png(width, height):
    stream = BytesIO()
    Image.new("L", (width, height), 100).save(stream, "PNG")
    return stream.getvalue()


def lying_png(width, height):
    """A PNG whose header tells of a size that its few bytes do not have."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in chunks
    )


@pytest.mark.parametrize("how", ["raw", "typed", "form"])
def test_it_answers_what_the_detector_says(client, detector, images, how):
    for path in (images / "good/000.png", images / "dent/001.png"):
        data = path.read_bytes()
        if how == "form":
            response = client.post("/detect", files={"file": ("x.png", data)})
        else:
            headers = {"content-type": "image/png"} if how == "typed" else {}
            response = client.post("/detect", content=data, headers=headers)
        assert response.status_code == 200
        answer, result = response.json(), detector(path)
        for name in ("score", "p_value", "threshold", "is_defective", "pixel_threshold"):
            assert answer[name] == pytest.approx(getattr(result, name), rel=1e-5)
        assert answer["box"] == (result.box._asdict() if result.box else None)
        assert (answer["width"], answer["height"], answer["pictures"]) == (32, 32, None)


def test_pictures_lie_over_each_other(client, detector, images):
    image = Image.open(images / "dent/001.png").resize((96, 64), Image.Resampling.NEAREST)
    stream = BytesIO()
    image.save(stream, "TIFF")
    answer = client.post("/detect?pictures=true", content=stream.getvalue()).json()
    drawn = {}
    for name, kind in (("image", "jpeg"), ("heat_map", "png")):
        head, _, data = answer["pictures"][name].partition(",")
        assert head == f"data:image/{kind};base64"
        drawn[name] = Image.open(BytesIO(base64.b64decode(data)))
    assert drawn["image"].size == drawn["heat_map"].size == (96, 64)
    assert np.abs(np.asarray(drawn["image"].convert("L"), int) - np.asarray(image)).mean() < 4
    alpha = np.asarray(drawn["heat_map"])[..., 3]
    anomaly_map = detector(image).anomaly_map  # (32, 32)
    row, column = divmod(int(anomaly_map.argmax()), 32)
    assert alpha[2 * row, 3 * column] > alpha.max() - 5
    row, column = divmod(int(anomaly_map.argmin()), 32)
    assert alpha[2 * row, 3 * column] < alpha.mean()


def test_a_png_on_request(client, images):
    data = (images / "dent/001.png").read_bytes()
    response = client.post("/detect", content=data, headers={"accept": "image/png"})
    assert response.headers["content-type"] == "image/png"
    picture = Image.open(BytesIO(response.content))
    assert (picture.size, picture.mode) == ((32, 32), "RGB")


@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40)])
def test_what_is_no_image_is_refused(client, content):
    response = client.post("/detect", content=content)
    assert response.status_code == 400
    assert "image" in response.json()["detail"]


def test_nothing_and_half_an_image(client, images):
    assert client.post("/detect").status_code == 400
    assert client.post("/detect", files={"other": (None, b"x")}).status_code == 400
    assert client.post("/detect", data={"file": "text"}).status_code == 400
    bad_form = {"content-type": "multipart/form-data"}
    assert client.post("/detect", content=b"x", headers=bad_form).status_code == 400
    half = (images / "good/000.png").read_bytes()[:400]
    response = client.post("/detect", content=half)
    assert response.status_code == 400
    assert "cannot be decoded" in response.json()["detail"]


def test_large_bodies_are_refused_before_they_are_read(client):
    response = client.post("/detect", content=bytes(2**20 + 1))
    assert (response.status_code, "1 MB" in response.json()["detail"]) == (413, True)

    def endless():
        for _ in range(100):
            yield bytes(2**16)

    assert client.post("/detect", content=endless()).status_code == 413
    form = client.post("/detect", files={"file": ("x", bytes(2**20))})
    assert form.status_code == 413


def test_large_images_are_refused_by_their_header(client, monkeypatch):
    uploads = (png(600, 500), lying_png(30000, 30000), lying_png(5000, 5000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
    for data in uploads:
        response = client.post("/detect", content=data)
        assert (response.status_code, "0.25 million" in response.json()["detail"]) == (413, True)


def test_an_image_whose_header_lies_within_the_limit(client):
    assert client.post("/detect", content=lying_png(400, 400)).status_code == 400


def test_other_methods_and_places(client):
    assert client.get("/detect").status_code == 405
    assert client.get("/docs").status_code == 404
    assert client.get("/../../etc/passwd").status_code == 404


def test_health_and_the_description_of_the_interface(client, detector):
    health = client.get("/health").json()
    assert health["status"] == "ok"
    assert health["threshold"] == pytest.approx(detector.threshold)
    assert health["image_size"] == [32, 32]
    operation = client.get("/openapi.json").json()["paths"]["/detect"]["post"]
    assert set(operation["requestBody"]["content"]) == {"image/*", "multipart/form-data"}
    assert {"200", "400", "403", "408", "413", "503"} <= set(operation["responses"])
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "image/png"}


def test_the_page_needs_nothing_from_elsewhere(client):
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", response.text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 400),
        ({"host": "evil.example:8000"}, 400),
        ({"host": ""}, 400),
        ({"host": "["}, 400),
        ({"host": "localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, 200),
        ({"host": "evil.example", "origin": "http://evil.example"}, 400),
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
    ],
)
def test_other_names_and_other_sites_are_refused(client, headers, status):
    response = client.get("/health", headers=headers)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"


def test_too_many_requests_are_told_to_come_again(detector, images, monkeypatch):
    go_on = threading.Event()
    call = Detector.__call__

    def slow(self, image):
        go_on.wait(60)
        return call(self, image)

    monkeypatch.setattr(Detector, "__call__", slow)
    app = create_app(detector, Limits(2**20, 10**6, 3), HOSTS)
    data = (images / "good/000.png").read_bytes()
    with TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.post, "/detect", content=data) for _ in range(4)]
        # Three have to wait, whichever they are; so the first answer is the refusal.
        (first,), _ = wait(asked, timeout=30, return_when=FIRST_COMPLETED)
        assert first.result().status_code == 503
        assert first.result().headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        go_on.set()
        assert sorted(future.result().status_code for future in asked) == [200] * 3 + [503]
        assert client.post("/detect", content=data).status_code == 200
        assert client.get("/ready").json() == {"status": "ready"}


def test_many_clients_at_once(url, images, detector):
    paths = sorted(images.rglob("*.png"))
    expected = {path: detector(path).score for path in paths}

    def ask(path):
        for _ in range(200):
            response = httpx.post(f"{url}/detect", content=path.read_bytes(), timeout=60)
            if response.status_code != 503:
                return path, response.json()["score"]
        return path, None

    with ThreadPoolExecutor(8) as pool:
        for path, score in pool.map(ask, paths * 3):
            assert score == pytest.approx(expected[path], rel=1e-5)


def test_addresses():
    assert [is_loopback(h) for h in ("127.0.0.1", "127.8.0.1", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "example.org")] == [False] * 3
    assert find_allowed_hosts("0.0.0.0", None) is None
    for name in ("*", "*.example.org"):
        assert find_allowed_hosts("0.0.0.0", [name]) == [name]
    for name in ("*camera", "camera.*", "*.*.org", "**"):
        with pytest.raises(ConfigError, match="stands alone or at the start"):
            find_allowed_hosts("0.0.0.0", [name])
    assert find_allowed_hosts("0.0.0.0", ["camera", "fe80::1"]) == ["camera", "[fe80::1]"]
    with listen("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="another host or port"):
        listen("127.0.0.1", taken.getsockname()[1])
    for host, port in (("192.0.2.1", 0), ("no such host", 0), ("127.0.0.1", 70000)):
        with pytest.raises(ConfigError, match="cannot be listened on"):
            listen(host, port)
