"""What one request may cost; `test_app` has the number of requests."""

import asyncio
from io import BytesIO

import pytest
from fastapi import HTTPException, Request
from PIL import Image

from fre_lightning.serve import limits
from fre_lightning.serve.limits import open_image, read_upload


def refused(status):
    return pytest.raises(HTTPException, match=rf"^{status}:")


def upload(parts, max_bytes, **headers):
    """Read a request whose body comes in parts; None stands for a client that stops sending."""
    parts = [*parts]

    async def receive():
        if (part := parts.pop(0)) is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    names = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    request = Request({"type": "http", "headers": names}, receive)
    return asyncio.run(asyncio.wait_for(read_upload(request, max_bytes), 10))


def test_a_body_may_be_as_large_as_the_limit():
    assert upload([b"abc", b"de"], 5) == b"abcde"
    with refused(413):
        upload([b"abc", b"def"], 5)
    with refused(413):  # said beforehand, so that nothing is read
        upload([], 5, content_length="6")
    with refused(413):  # said wrongly
        upload([b"abcdef"], 5, content_length="3")


def test_nothing_is_no_image():
    with refused(400):
        upload([b""], 5)


def test_a_client_that_stops_sending_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(limits, "_MAX_READING_SECONDS", 0.01)
    with refused(408):
        upload([b"abc", None], 5)


def encode(kind, size=(20, 10)):
    stream = BytesIO()
    Image.new("L", size).save(stream, kind)
    return stream.getvalue()


def test_an_image_may_have_as_many_pixels_as_the_limit():
    assert open_image(encode("PNG"), 200).size == (20, 10)
    with refused(413):
        open_image(encode("PNG"), 199)


def test_the_limit_that_was_met_is_named(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(HTTPException, match="FRE_MAX_PIXELS"):
        open_image(encode("PNG"), 1000)
    with pytest.raises(HTTPException, match="Images may have 8e-05 million pixels"):
        open_image(encode("PNG"), 80)


def test_formats_that_are_not_served_are_refused_whatever_they_are_called():
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP"):
        assert open_image(encode(kind), 1000).format == kind
    for data in (encode("GIF"), encode("PPM"), b"", b"text"):
        with refused(400):
            open_image(data, 1000)
