"""HTML pages in one file: pictures as data URIs, and a policy that allows nothing else."""

import base64
import hashlib


def data_uri(media_type: str, data: bytes) -> str:
    """A file as a data URI, for example of `image/png`."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def content_policy(style: str, script: str) -> str:
    """A content security policy: only this style and script, pictures in the page, no network.

    Markup that came in through a file name, for example, would neither run nor load.
    """
    hashes = {
        f"{name}-src": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style", style), ("script", script))
    }
    allowed = " ".join(f"{name} 'sha256-{value}';" for name, value in hashes.items())
    return f"default-src 'none'; img-src data:; {allowed} base-uri 'none'; form-action 'none'"
