"""The guard before an application of one line; `test_app` has the cases of a whole server."""

import asyncio

import pytest
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from fre_lightning.serve.guard import Guard


def ask(allowed, **headers):
    client = TestClient(Guard(PlainTextResponse("in"), allowed), base_url="http://camera:8000")
    return client.get("/", headers=headers)


@pytest.mark.parametrize(
    ("allowed", "headers", "status"),
    [
        (["camera"], {}, 200),
        (["CAMERA"], {"host": "Camera:8000"}, 200),
        (["other"], {}, 403),
        ([], {}, 403),
        (None, {"host": "anything.example"}, 200),
        (None, {"host": "a.example", "origin": "http://a.example"}, 200),
        (None, {"host": "a.example", "origin": "http://b.example"}, 403),
        (["camera"], {"origin": "http://camera"}, 403),  # another port is another site
        (["camera"], {"origin": "http://["}, 403),
    ],
)
def test_who_is_let_in(allowed, headers, status):
    answer = ask(allowed, **headers)
    assert answer.status_code == status
    assert (answer.text == "in") == (status == 200)


@pytest.mark.parametrize("allowed", [["camera"], []])
def test_every_answer_is_closed_to_other_sites(allowed):
    headers = ask(allowed).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_what_is_no_request_passes():
    seen = []

    async def app(scope, _receive, _send):
        seen.append(scope["type"])

    asyncio.run(Guard(app, [])({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
