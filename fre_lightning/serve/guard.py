"""Protection against pages of other sites, for a server that only this computer can reach."""

from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class OriginGuard:
    """Refuses requests from pages of other sites, which browsers mark with their origin.

    A site could also let its own name lead to 127.0.0.1, and then its origin is the Host header:
    Starlette's TrustedHostMiddleware refuses such names.

    Args:
        app: The application, which answers all other requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        headers, app = Headers(scope=scope), self._app
        origin = headers.get("origin")
        if origin is not None and _authority(origin) != headers.get("host", "").lower():
            app = JSONResponse({"detail": "Requests from pages of other sites are refused."}, 403)
        await app(scope, receive, send_with_headers)


def _authority(origin: str) -> str | None:
    """The host and port of an Origin header; None for `null` and for an invalid one."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
