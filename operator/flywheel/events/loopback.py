"""The guard of ports on a pod's loopback, which are reached by `kubectl port-forward` alone.

A browser on the machine that forwards the port must not become a way in: names other than localhost are refused, and
so are bodies that a page of another origin could send without being asked.
"""

import re

import msgspec
from aiohttp import web

from flywheel.events.http_answers import Handler, TooLarge, refusal

_LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer programs of the machine, and say what is wrong with a body."""
    if not _LOCAL.fullmatch(request.headers.get("Host", "")):
        return refusal(403, "not_local", "This port is spoken to as localhost or 127.0.0.1 only.")
    if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
        # A page can have a browser ask for an export again and again, even if it cannot read the answer.
        return refusal(403, "from_a_page", "This port answers programs, not pages.")
    if request.method == "POST" and request.content_type != "application/json":
        return refusal(415, "not_json", "The body has to be application/json.")
    try:
        return await handler(request)
    except TooLarge as error:
        return refusal(413, "too_large", str(error))
    except msgspec.DecodeError as error:
        return refusal(400, "bad_request", f"The body is not what is wanted: {error}")
