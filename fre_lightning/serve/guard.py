"""Keeps pages of other sites from using a server that only this computer can reach."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Refuses requests under a strange host name, and those of other sites' pages.

    A page can send requests to 127.0.0.1, which browsers mark with its origin; and a site can let
    its own name lead to 127.0.0.1, which then stands in the Host header.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str] | None) -> None:
        """Wrap an application.

        Args:
            app: What answers the other requests.
            allowed_hosts: Names without ports; None for any.
        """
        self._app = app
        self._allowed = None if allowed_hosts is None else {name.lower() for name in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        reason = self._refusal(Headers(scope=scope))
        app = self._app if reason is None else JSONResponse({"detail": reason}, 403)
        await app(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if self._allowed is not None and _host_name(host) not in self._allowed:
            return "This host name is not served; see allowed_hosts."
        if origin is not None and _authority(origin) != host:
            return "Requests from pages of other sites are not served."
        return None


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _authority(origin: str) -> str | None:
    """The host and port of an Origin header; None for `null` and what is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
