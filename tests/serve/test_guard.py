"""The guard before an application of one line; `test_app` has the cases of a whole server."""

import asyncio

import pytest
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from fre_lightning.serve.guard import OriginGuard


def ask(**headers):
    client = TestClient(OriginGuard(PlainTextResponse("in")), base_url="http://camera:8000")
    return client.get("/", headers=headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "a.example", "origin": "http://a.example"}, 200),
        ({"host": "A.example", "origin": "http://a.EXAMPLE"}, 200),
        ({"origin": "http://camera:8000"}, 200),
        ({"host": "a.example", "origin": "http://b.example"}, 403),
        ({"origin": "http://camera"}, 403),  # another port is another site
        ({"origin": "http://["}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_who_is_let_in(headers, status):
    answer = ask(**headers)
    assert answer.status_code == status
    assert (answer.text == "in") == (status == 200)


@pytest.mark.parametrize("headers", [{}, {"origin": "http://b.example"}])
def test_every_answer_is_closed_to_other_sites(headers):
    answered = ask(**headers).headers
    assert answered["x-content-type-options"] == "nosniff"
    assert answered["cross-origin-resource-policy"] == "same-origin"
    assert answered["cache-control"] == "no-store"


def test_what_is_no_request_passes():
    seen = []

    async def app(scope, _receive, _send):
        seen.append(scope["type"])

    asyncio.run(OriginGuard(app)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
