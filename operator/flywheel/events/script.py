"""The script `/fw.js`, read once and served from memory."""

import gzip
import hashlib

from aiohttp import web

from flywheel.events.assets import script as packaged

MAX_AGE = 3_600
"""Seconds: a new version reaches every browser within that."""


class Script:
    """The script with what HTTP says about it."""

    def __init__(self, body: bytes | None = None) -> None:
        """Read the script; `body` takes its place in tests."""
        body = packaged() if body is None else body
        self._body = body
        self._compressed = gzip.compress(body, 9, mtime=0)
        self.etag = hashlib.sha256(body).hexdigest()[:32]

    async def answer(self, request: web.Request) -> web.Response:
        """Serve it, or say that the browser's is the same."""
        headers = {
            "ETag": f'"{self.etag}"',
            "Cache-Control": f"public, max-age={MAX_AGE}",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            # Pages of other sites may load it; what it sends from there is another question.
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        known = request.if_none_match or ()
        if any(each.value in (self.etag, "*") for each in known):
            return web.Response(status=304, headers=headers)
        body = self._body
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body = self._compressed
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers={**headers, "Content-Type": "text/javascript; charset=utf-8"})
