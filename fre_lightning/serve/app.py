"""The HTTP interface of a detector."""

import base64
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
from anyio import CapacityLimiter
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from PIL import Image
from pydantic import BaseModel, Field

from fre_lightning.detector.detector import Detector
from fre_lightning.detector.result import DetectionResult
from fre_lightning.errors import UnreadableImageError
from fre_lightning.pictures.overlays import Pictures, draw_pictures, encode
from fre_lightning.serve.guard import Guard
from fre_lightning.serve.limits import Gate, Limits, open_image, read_upload
from fre_lightning.version import __version__

_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}


class BoxAnswer(BaseModel):
    """A rectangle in pixels of the image: columns x0 to x1 - 1, rows y0 to y1 - 1."""

    x0: int
    y0: int
    x1: int
    y1: int


class PicturesAnswer(BaseModel):
    """Data URIs of two pictures of one size, to be laid over each other."""

    image: str = Field(description="The image as the detector reads it, JPEG")
    heat_map: str = Field(description="PNG, transparent where nothing stands out")


class Answer(BaseModel):
    """What the detector says of an image."""

    score: float = Field(description="The image score; higher is more anomalous")
    p_value: float | None = Field(description="The share of normal images that score so high")
    threshold: float | None = Field(description="Above it an image is called defective")
    is_defective: bool | None = Field(description="Null if there is no threshold")
    pixel_threshold: float | None = Field(description="Few normal images' maps exceed it anywhere")
    box: BoxAnswer | None = Field(description="Of the hottest region above the pixel threshold")
    width: int = Field(description="Of the image, in pixels")
    height: int
    pictures: PicturesAnswer | None = Field(description="If asked for with `pictures=true`")


class Health(BaseModel):
    """What is being served."""

    status: str
    version: str
    detector: str
    image_size: tuple[int, int]
    threshold: float | None
    false_alarm_rate: float


def create_app(detector: Detector, limits: Limits, allowed_hosts: list[str] | None) -> FastAPI:
    """The application: `/detect`, `/health`, and the page.

    Args:
        detector: Judges images; used from threads.
        limits: What a request may cost.
        allowed_hosts: The names by which it may be called; None for any.
    """
    # The usual pages of documentation load scripts from elsewhere.
    app = FastAPI(
        title="fre_lightning",
        description="Finds defects in images. `/` is a page to try it on.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, allowed_hosts=allowed_hosts)
    gate, threads = Gate(limits.max_requests), CapacityLimiter(detector.n_threads)

    @app.post(
        "/detect",
        response_model=Answer,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/*": _BINARY, "multipart/form-data": _FORM},
            }
        },
        responses={
            200: {"content": {"image/png": _BINARY}},
            **{
                status: {"description": text}
                for status, text in (
                    (400, "The image cannot be decoded"),
                    (403, "The request comes from another site's page"),
                    (408, "The upload took too long"),
                    (413, "Too many bytes or pixels"),
                    (503, "Too many requests are waiting"),
                )
            },
        },
    )
    async def detect(
        request: Request,
        pictures: Annotated[bool, Query(description="Whether to add data URIs")] = False,
    ) -> Any:
        """Judge an image: the request's body, or the file of a form.

        With `Accept: image/png` the answer is the image under its heat map, else JSON.
        """
        as_png = request.headers.get("accept", "").lower().startswith("image/png")
        with gate:
            data = await read_upload(request, limits.max_upload_bytes)
            work = partial(_judge, detector, data, limits.max_pixels, draw=pictures or as_png)
            result, drawn = await anyio.to_thread.run_sync(work, limiter=threads)
            render = partial(_render, result, drawn, as_png=as_png)
            return await anyio.to_thread.run_sync(render, limiter=threads)

    @app.get("/health")
    async def health() -> Health:
        """Say what is being served."""
        return Health(
            status="ok",
            version=__version__,
            detector=detector.description,
            image_size=detector.image_size,
            threshold=detector.threshold,
            false_alarm_rate=detector.false_alarm_rate,
        )

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": page_policy(_PAGE)})

    return app


def page_policy(page: str) -> str:
    """A content security policy that lets a page's own style and script run, and nothing else."""

    def digests(tag: str) -> str:
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        hashes = (base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in parts)
        return " ".join(f"'sha256-{digest.decode()}'" for digest in hashes)

    return (
        f"default-src 'none'; script-src {digests('script')}; style-src {digests('style')}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _judge(
    detector: Detector, data: bytes, max_pixels: int, *, draw: bool
) -> tuple[DetectionResult, Pictures | None]:
    """Decode, judge and draw, in a thread.

    Raises:
        HTTPException: 400 or 413 for what is no image, or too large a one.
    """
    try:
        image = open_image(data, max_pixels)
        result = detector(image)
        return result, draw_pictures(image, result) if draw else None
    except UnreadableImageError as error:
        raise HTTPException(400, str(error)) from error


def _render(result: DetectionResult, drawn: Pictures | None, *, as_png: bool) -> Response | Answer:
    if drawn is not None and as_png:
        flat = Image.alpha_composite(drawn.image.convert("RGBA"), drawn.heat_map).convert("RGB")
        return Response(encode(flat, "PNG"), media_type="image/png")
    pictures = None
    if drawn is not None:
        image, heat_map = encode(drawn.image, "JPEG"), encode(drawn.heat_map, "PNG")
        pictures = PicturesAnswer(
            image=_data_uri("image/jpeg", image), heat_map=_data_uri("image/png", heat_map)
        )
    height, width = result.image_size
    return Answer(
        score=result.score,
        p_value=result.p_value,
        threshold=result.threshold,
        is_defective=result.is_defective,
        pixel_threshold=result.pixel_threshold,
        box=BoxAnswer(**result.box._asdict()) if result.box else None,
        width=width,
        height=height,
        pictures=pictures,
    )


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
