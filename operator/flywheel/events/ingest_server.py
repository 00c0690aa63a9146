"""The port to which sidecars deliver, and where the operator asks."""

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping

from aiohttp import web

from flywheel.events.commit import Delivery, Outcome
from flywheel.events.erasure import Erasures
from flywheel.events.first_visitor_question import FirstVisitorQuestion
from flywheel.events.group_commit import Full, GroupCommit
from flywheel.events.http_answers import Handler, TooLarge, gunzip, read_body, refusal, tell_engine_trouble
from flywheel.events.identity import Identity, KeysUnavailable, NotAllowed, NotIdentified
from flywheel.events.naming import FIRST_VISITOR
from flywheel.events.questions import Questions
from flywheel.events.salts import Salts
from flywheel.events.store import Unreadable

log = logging.getLogger(__name__)

MOST_PACKED = 8 << 20
MOST_BYTES = 32 << 20
MOST_ROWS = 50_000
COMMIT_TIMEOUT = 60.0
"""Seconds that a delivery waits at most; it may still be stored after that, and comes again as a duplicate."""
CAMPAIGN = web.RequestKey("campaign", str)
Count = Callable[[str, str, Outcome], None]
"""Told campaign, table and outcome of each delivery."""


class IngestServer:
    """Handlers of `/v1/*`, for identified sidecars or for the operator, and the probes."""

    def __init__(
        self,
        identity: Identity,
        queues: Mapping[str, GroupCommit],
        salts: Salts,
        erasures: Erasures,
        questions: Questions,
        first_visitor: FirstVisitorQuestion,
        complaint: Callable[[], str | None],
        count: Count,
    ) -> None:
        self._identity = identity
        self._queues = queues
        self._salts = salts
        self._erasures = erasures
        self._questions = questions
        self._first_visitor = first_visitor
        self._complaint = complaint
        self._count = count

    def application(self) -> web.Application:
        """Make the application."""
        made = web.Application(middlewares=[tell_engine_trouble, self._identify])
        made.router.add_post("/v1/ingest/{table}", self._ingest)
        made.router.add_get("/v1/salt", self._salt)
        made.router.add_get("/v1/erasures", self._list_erasures)
        made.router.add_post(FIRST_VISITOR, self._find_first_visitor)
        for path in self._questions.paths:
            made.router.add_post(path, self._answer)
        made.router.add_get("/healthz", self._healthz)
        made.router.add_get("/readyz", self._readyz)
        return made

    @web.middleware
    async def _identify(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            try:
                authorization = request.headers.get("Authorization")
                if request.path in self._questions.paths:
                    await self._identity.check_operator(authorization)
                else:
                    request[CAMPAIGN] = await self._identity.campaign(authorization)
            except NotIdentified as error:
                return refusal(401, "not_identified", str(error), {"WWW-Authenticate": "Bearer"})
            except NotAllowed as error:
                return refusal(403, "not_allowed", str(error))
            except KeysUnavailable as error:
                return refusal(503, "keys_unavailable", str(error), {"Retry-After": "5"})
        return await handler(request)

    async def _ingest(self, request: web.Request) -> web.Response:
        table = request.match_info["table"]
        queue = self._queues.get(table)
        if queue is None:
            return refusal(404, "no_such_table", f"There is no table {table!r}; rows go to {', '.join(self._queues)}.")
        if complaint := self._complaint():
            return refusal(503, "engine_down", complaint, {"Retry-After": "2"})
        try:
            rows = await _rows(request)
        except TooLarge as error:
            return refusal(413, "too_large", str(error))
        except (zlib.error, ValueError) as error:
            return refusal(400, "unreadable", f"The body cannot be unpacked: {error}")
        delivery = Delivery(request[CAMPAIGN], rows, rows.count(b"\n"))
        if delivery.count > MOST_ROWS:
            message = f"There are {delivery.count} rows; at most {MOST_ROWS} are taken at once."
            return refusal(413, "too_large", message)
        return await self._store(queue, table, delivery)

    async def _store(self, queue: GroupCommit, table: str, delivery: Delivery) -> web.Response:
        if not delivery.count:
            return web.json_response({"stored": 0, "duplicates": 0, "refused": 0})
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                outcome = await queue.submit(delivery)
        except Full as error:
            return refusal(429, "busy", str(error), {"Retry-After": "1"})
        except TimeoutError:
            message = f"The rows were not stored within {COMMIT_TIMEOUT:g} s; send them again."
            return refusal(503, "slow", message, {"Retry-After": "2"})
        if isinstance(outcome, Unreadable):
            return refusal(400, "unreadable", str(outcome))
        self._count(delivery.campaign, table, outcome)
        return web.json_response(
            {"stored": outcome.stored, "duplicates": outcome.duplicates, "refused": outcome.refused}
            | ({"reasons": outcome.reasons} if outcome.reasons else {})
        )

    async def _salt(self, request: web.Request) -> web.Response:
        try:
            salt = await self._salts.salt(request[CAMPAIGN])
        except OSError as error:
            log.error("The salt of %s cannot be kept: %s", request[CAMPAIGN], error)  # noqa: TRY400
            return refusal(503, "no_salt", f"The salt cannot be kept: {error.strerror}", {"Retry-After": "10"})
        return web.json_response({"salt": salt}, headers={"Cache-Control": "no-store"})

    async def _list_erasures(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdigit() or len(since) > 19:
            return refusal(400, "bad_since", "`since` is the id of the last erasure that you know, a whole number.")
        return web.json_response({"erasures": await self._erasures.listed(request[CAMPAIGN], int(since))})

    async def _find_first_visitor(self, request: web.Request) -> web.Response:
        if complaint := self._complaint():
            return refusal(503, "engine_down", complaint, {"Retry-After": "2"})
        return await self._first_visitor.answer(request, request[CAMPAIGN])

    async def _answer(self, request: web.Request) -> web.Response:
        if complaint := self._complaint():
            return refusal(503, "engine_down", complaint, {"Retry-After": "2"})
        return await self._questions.answer(request)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        complaint = self._complaint()
        return web.Response(text=f"{complaint or 'ok'}\n", status=503 if complaint else 200)


async def _rows(request: web.Request) -> bytes:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise ValueError(f"Content-Encoding {encoding[:50]!r} is not known; gzip is")
    body = await read_body(request, MOST_PACKED if encoding == "gzip" else MOST_BYTES)
    if encoding == "gzip":
        body = await asyncio.to_thread(gunzip, body, MOST_BYTES)
    body = body.strip()
    return body + b"\n" if body else b""
