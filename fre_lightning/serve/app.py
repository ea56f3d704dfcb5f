"""The HTTP interface of a detector."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
from anyio import CapacityLimiter
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

from fre_lightning.detector.judge import Judge
from fre_lightning.errors import UnreadableImageError
from fre_lightning.pictures.embedding import content_policy
from fre_lightning.serve.answers import answers_of
from fre_lightning.serve.guard import OriginGuard
from fre_lightning.serve.limits import Limits, open_image, read_upload
from fre_lightning.serve.metrics import CONTENT_TYPE, Metrics
from fre_lightning.serve.models import Health
from fre_lightning.version import __version__

_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
_STYLE, _SCRIPT = (_PAGE.split(f"<{tag}>")[1].split(f"</{tag}>")[0] for tag in ("style", "script"))
_POLICY = f"{content_policy(_STYLE, _SCRIPT)}; connect-src 'self'; frame-ancestors 'none'"

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"type": "object", "properties": {"file": _BINARY["schema"]}, "required": ["file"]}
_BODY = {"image/*": _BINARY, "multipart/form-data": {"schema": _FORM}}
_INTERFACE: dict[str, Any] = {
    "openapi_extra": {"requestBody": {"required": True, "content": _BODY}},
    "responses": {
        200: {"content": {"image/png": _BINARY}},
        400: {"description": "The image cannot be decoded, or the host name is not served"},
        403: {"description": "The request comes from another site's page"},
        406: {"description": "A heat map is asked for, and the detector makes none"},
        408: {"description": "The upload took too long"},
        413: {"description": "Too many bytes or pixels"},
        503: {"description": "Too many requests are waiting"},
    },
}


class _Handlers:
    """Answers requests with a detector, which is used from threads."""

    def __init__(self, detector: Judge[Any], limits: Limits) -> None:
        self._detector, self._limits = detector, limits
        self.answers = answers_of(detector)
        self._metrics = Metrics(detector, self.answers.score_limits)
        self._places = asyncio.Semaphore(limits.max_requests)
        self._threads = CapacityLimiter(detector.n_threads)

    async def detect(
        self,
        request: Request,
        pictures: Annotated[bool, Query(description="Whether to add data URIs")] = False,
    ) -> Any:
        """Judge an image: the request's body, or the file of a form.

        With `Accept: image/png` the answer is the image under its heat map, if the detector makes
        such, else JSON.
        """
        start, status = time.perf_counter(), 500
        try:
            answer = await self._detect(request, with_pictures=pictures)
            status = 200
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            self._metrics.seconds.labels(status).observe(time.perf_counter() - start)
        return answer

    async def _detect(self, request: Request, *, with_pictures: bool) -> Response | BaseModel:
        as_png = request.headers.get("accept", "").lower().startswith("image/png")
        if as_png and not self.answers.has_heat_maps:
            raise HTTPException(406, "This detector makes no heat maps. Ask for JSON.")
        self._check_places()
        async with self._places:
            data = await read_upload(request, self._limits.max_upload_bytes)
            work = partial(self._judge, data, as_png=as_png, with_pictures=with_pictures)
            return await anyio.to_thread.run_sync(work, limiter=self._threads)

    def _check_places(self) -> None:
        if self._places.locked():
            message = "Too many requests are waiting. Try again."
            raise HTTPException(503, message, {"Retry-After": "1"})

    async def ready(self) -> dict[str, str]:
        """Whether a request would be taken now, else 503; `/health` answers as long as it runs."""
        self._check_places()
        return {"status": "ready"}

    async def metrics(self) -> Response:
        """Counts, latencies, scores and drift for Prometheus."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def health(self) -> Health:
        """Describe the served detector."""
        return Health(
            status="ok",
            version=__version__,
            detector=self._detector.description,
            image_size=self._detector.image_size,
            **self.answers.about,
        )

    def _judge(self, data: bytes, *, as_png: bool, with_pictures: bool) -> Response | BaseModel:
        """Decode, judge and answer.

        Raises:
            HTTPException: 400 or 413 if it is no image, or too large.
        """
        try:
            image = open_image(data, self._limits.max_pixels)
            result = self._detector(image)
            self._detector.note(result.p_value)
            self._metrics.add(result)
            if as_png:
                return Response(self.answers.flat_picture(image, result), media_type="image/png")
            return self.answers.answer(image, result, with_pictures=with_pictures)
        except UnreadableImageError as error:
            raise HTTPException(400, str(error)) from error


async def _page() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


def create_app(detector: Judge[Any], limits: Limits, allowed_hosts: list[str] | None) -> FastAPI:
    """The application: `/detect`, `/health`, `/ready`, `/metrics`, and the page.

    Args:
        detector: Judges images; used from threads.
        limits: Of requests.
        allowed_hosts: The host names that requests may use, without ports; None: any.
    """
    # The usual pages of documentation load scripts from elsewhere.
    app = FastAPI(
        title="fre_lightning",
        description="Judges images. `/` is a page to try it on.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts, www_redirect=False)
    app.add_middleware(OriginGuard)
    handlers = _Handlers(detector, limits)
    app.post("/detect", response_model=handlers.answers.model, **_INTERFACE)(handlers.detect)
    app.get("/health")(handlers.health)
    app.get("/ready", responses={503: {"description": "Too many requests are waiting"}})(
        handlers.ready
    )
    app.get("/metrics", response_class=PlainTextResponse)(handlers.metrics)
    app.get("/", include_in_schema=False)(_page)
    return app
