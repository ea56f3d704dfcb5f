"""The limits of requests: how many at a time, and the size of their bodies and images."""

import asyncio
from io import BytesIO
from typing import NamedTuple

from fastapi import HTTPException, Request
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.types import Message, Receive

from fre_lightning.images.reading import reason_of

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_MAX_READING_SECONDS = 60.0


class Limits(NamedTuple):
    """The limits of requests.

    Attributes:
        max_upload_bytes: Size of the whole body.
        max_pixels: Pixels of an image, by its header.
        max_requests: Requests being handled or waiting.
    """

    max_upload_bytes: int
    max_pixels: int
    max_requests: int


async def read_upload(request: Request, max_bytes: int) -> bytes:
    """The image file in a request: the body itself, or the file of a multipart form.

    Raises:
        HTTPException: 400 without a file, 408 if it takes too long, 413 if it is too large.
    """
    request = Request(request.scope, _limit(request, max_bytes))
    try:
        async with asyncio.timeout(_MAX_READING_SECONDS):
            data = await _read_file(request)
    except TimeoutError as error:
        raise HTTPException(408, "The upload took too long.") from error
    if not data:
        raise HTTPException(400, "There is no image. Send it as the body or as a form's file.")
    return data


async def _read_file(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        return await files[0].read() if files else b""


def _limit(request: Request, max_bytes: int) -> Receive:
    """The source of the request's messages; it raises once they hold too many bytes."""
    too_large = HTTPException(413, f"Uploads may have {max_bytes / 2**20:g} MB.")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    n_bytes = 0

    async def receive() -> Message:
        nonlocal n_bytes
        message = await request.receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > max_bytes:
            raise too_large
        return message

    return receive


def open_image(data: bytes, max_pixels: int) -> Image.Image:
    """Open an image file by its content; its pixels are not decoded yet.

    Raises:
        HTTPException: 400 if it is no image, 413 if its header gives too many pixels.
    """
    too_large = HTTPException(413, f"Images may have {max_pixels / 1e6:g} million pixels.")
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        is_ours = max_pixels < 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)
        raise too_large if is_ours else HTTPException(413, reason_of(error)) from error
    except Exception as error:
        reason = f"This is no {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} image."
        raise HTTPException(400, reason) from error
    if image.width * image.height > max_pixels:
        raise too_large
    return image
