"""What every service of the shop has in common: health, one access log line per request, a stop that loses nobody."""

import asyncio
import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from shop.database import Refused
from shop.settings import Settings

SESSION_COOKIE = "yougou_session"
"""Whose cart it is. The shop cannot do without it, so it does not hang on the consent to being measured."""
EDGE_COOKIE, EDGE_HEADER = "fw_vid", b"x-fw-visitor"
"""How the campaign's edge tells who a visitor is. The header is the edge's own: it deletes those of clients."""
MAX_BODY_BYTES = 8 * 1024
_VISITOR = re.compile(r"[0-9a-zA-Z_-]{8,64}")


class JsonLines(logging.Formatter):
    """One JSON object a line, as log collectors want it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": round(record.created, 3), "level": record.levelname.lower()}
        line |= record.msg if isinstance(record.msg, dict) else {"message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging() -> None:
    """Send all logs as JSON lines to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


access_log = logging.getLogger("shop.access")


class Door:
    """ASGI middleware around a whole service: access log, visitor cookie, and how it takes leave."""

    def __init__(self, app: ASGIApp, service: str, sets_cookie: bool = True) -> None:
        self.draining = False
        """The process stops: readiness is off."""
        self.leaving = False
        """Another revision has the traffic: clients are sent away with each answer, and may come until the last."""
        self._app, self._service, self._sets_cookie = app, service, sets_cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        cookies = Request(scope).cookies
        known = cookies.get(SESSION_COOKIE, "")
        visitor = known if _VISITOR.fullmatch(known) else uuid.uuid4().hex
        scope.setdefault("state", {})["visitor"] = visitor
        told = dict(scope["headers"]).get(EDGE_HEADER, b"").decode("latin-1") or cookies.get(EDGE_COOKIE, "")
        scope["state"]["edge_visitor"] = told if _VISITOR.fullmatch(told) else ""
        scope["state"]["door"] = self

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if visitor != known and self._sets_cookie and scope["path"] not in OF_THE_CLUSTER:
                    headers.append(
                        "set-cookie", f"{SESSION_COOKIE}={visitor}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
                    )
                if self.draining or self.leaving:
                    # A kept connection would send its next request into a closed socket.
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            if scope["path"] not in OF_THE_CLUSTER:
                access_log.info(
                    {
                        "service": self._service,
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
                        "visitor": visitor,
                        "client": (scope.get("client") or ("",))[0],
                    }
                )


OF_THE_CLUSTER = ("/healthz", "/readyz", "/drain", "/resume")
"""Paths that no customer asks for: they are neither logged nor given a cookie."""


def application(
    service: str,
    routes: Sequence[BaseRoute],
    *,
    lifespan: Lifespan[Starlette] | None = None,
    ready: Callable[[], Awaitable[None]] | None = None,
    render_refusal: Callable[[Request, Refused], Response] | None = None,
    sets_cookie: bool = True,
) -> Door:
    """Wrap `routes` into a complete service. `ready` raises while the service cannot serve."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"service": service, "alive": True})

    async def readyz(request: Request) -> Response:
        if request.state.door.draining:
            return JSONResponse({"service": service, "ready": False, "why": "stopping"}, 503)
        if ready:
            await ready()
        return JSONResponse({"service": service, "ready": True})

    async def drain(request: Request) -> Response:
        request.state.door.leaving = request.url.path == "/drain"
        return JSONResponse({"service": service, "leaving": request.state.door.leaving})

    async def refused(request: Request, error: Exception) -> Response:
        if not isinstance(error, Refused):
            raise error
        if render_refusal and not wants_json(request):
            return render_refusal(request, error)
        return JSONResponse({"error": error.code, "message": error.message}, error.status)

    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *(Route(path, drain, methods=["POST"]) for path in ("/drain", "/resume")),
            *routes,
        ],
        exception_handlers={Refused: refused},
        lifespan=lifespan,
    )
    return Door(app, service, sets_cookie)


def wants_json(request: Request) -> bool:
    """Programs ask for JSON; browsers do not."""
    return "application/json" in request.headers.get("accept", "")


async def read_body(request: Request) -> bytes:
    """Read a small body.

    Raises:
        Refused: it is larger than 8 KiB.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, "too_large", "提交的内容太大。")
    return body


async def read_fields(request: Request) -> dict[str, str]:
    """Read a small form or JSON object as text fields.

    Raises:
        Refused: the body is larger than 8 KiB or cannot be understood.
    """
    body = await read_body(request)
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            fields = {str(name): str(value) for name, value in dict(json.loads(body)).items()}
            # Half a character passes as JSON and nowhere else.
            "".join(fields.values()).encode()
            return fields
        return dict(parse_qsl(body.decode(), strict_parsing=bool(body), max_num_fields=32))
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(400, "bad_body", "提交的内容无法识别。") from error


class _Server(uvicorn.Server):
    """Stops in two steps: first unready but serving, then closed; a second signal cuts the first step short."""

    def __init__(self, config: uvicorn.Config, door: Door, drain_seconds: float) -> None:
        super().__init__(config)
        self._door, self._drain_seconds = door, drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is None or self._door.draining:
            self.should_exit = True
            return
        self._door.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, self._close)

    def _close(self) -> None:
        self.should_exit = True


KEEP_ALIVE_SECONDS = 75
"""For connections that nobody uses: longer than clients keep them. Who asks just as one is closed gets no answer."""


def serve(door: Door, settings: Settings) -> None:
    """Listen until SIGTERM or SIGINT, then drain and return."""
    config = uvicorn.Config(
        door,
        host=settings.listen_host,
        port=settings.listen_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=15,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        lifespan="on",
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    _Server(config, door, settings.drain_seconds).run()
