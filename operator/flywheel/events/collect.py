"""Segment's HTTP tracking API, for browsers and servers.

As there: 200 and `{"success": true}` for what was taken in, 400 for what cannot be; batches of which some events are
bad are taken in without those, and the answer lists them under `rejected`. Beyond Segment: 401 for an unknown write
key, 403 for pages of undeclared origins, 503 with Retry-After while nothing more can be kept - 200 means that the
events survive the end of any process. An event that its visitor does not agree to is no mistake of the client's: it is
listed under `rejected`, with 200.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from aiohttp import web

from flywheel.edge.document import EdgeDocument, Visitor
from flywheel.events.access import Access, basic_user
from flywheel.events.addresses import Addresses
from flywheel.events.body import inflate
from flywheel.events.dedupe import Recent
from flywheel.events.first_visitor import FirstVisitors, cookie, linked_user
from flywheel.events.incoming import LARGEST_BATCH, LARGEST_EVENT, read_envelope, read_event
from flywheel.events.intake import Intake, Taken
from flywheel.events.meters import Meters, Vocabulary
from flywheel.events.moments import HORIZON, milliseconds
from flywheel.events.normalise import Sender
from flywheel.events.refusal import Refused
from flywheel.events.rows import EventRow, Row
from flywheel.events.script import Script
from flywheel.events.spool import Spool, SpoolFull, Table

SINGLE = {kind: kind for kind in ("track", "page", "screen", "identify", "group", "alias")}
SINGLE |= {kind[0]: kind for kind in SINGLE}
"""Paths below /v1, with the short forms of analytics.js."""
BATCHES = ("batch", "import", "b")
PATIENCE = 10.0
"""Seconds in which a body must arrive."""
MOST_UNDER_WAY = 64 << 20
"""Bytes of bodies that are arriving, of all clients: those who send slowly must not fill the memory."""
RETRY_AFTER = 5
MOST_REJECTIONS = 100
"""That are listed in one answer."""
_OF_BROWSERS = ("Origin", "Sec-Fetch-Site")
"""Headers that browsers send with each such call, and that pages cannot take away."""
_STATUS = {"unknown_key": 401, "foreign_origin": 403, "too_slow": 408, "spool_full": 503, "disk": 503, "not_ready": 503}
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Rules:
    """What one document says about collecting."""

    access: Access
    intake: Intake
    vocabulary: Vocabulary
    addresses: Addresses
    retention: int
    """Milliseconds."""
    currency: str
    order: str
    """Name of the event that is an order."""
    counts_pages: bool
    """Whether page views are what the script says."""
    visitor: Visitor


class Collector:
    """Takes in events over HTTP and appends them to the spool."""

    def __init__(
        self,
        spool: Spool,
        meters: Meters,
        *,
        script: Script | None = None,
        first_visitors: FirstVisitors | None = None,
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
        patience: float = PATIENCE,
        on_taken: Callable[[Sequence[EventRow], str], None] | None = None,
    ) -> None:
        """Make a collector.

        Args:
            spool: Where events are kept until the store has them.
            meters: Where they are counted.
            script: What browsers load.
            first_visitors: Who knows the first visitor of a user.
            clock: Milliseconds since 1970.
            patience: Seconds in which a body must arrive.
            on_taken: Told of events that were kept, with the client's address, which is in none of them. Must not wait.
        """
        self._on_taken = on_taken
        self._spool, self._meters, self._clock, self._patience = spool, meters, clock, patience
        self._script = script or Script()
        self._first_visitors = first_visitors
        self._recent = Recent()
        self._under_way = 0
        self._salt = b""
        self._document: EdgeDocument | None = None
        self.rules: Rules | None = None
        """None until there is a document."""

    def use_document(self, document: EdgeDocument) -> None:
        """Collect as a document says from now on."""
        self._document = document
        collect = document.collect
        self.rules = Rules(
            access=Access(collect),
            intake=Intake(document, self._recent),
            vocabulary=Vocabulary(document),
            addresses=Addresses(collect.addresses, self._salt),
            retention=collect.retention * 1000,
            currency=collect.currency,
            order=collect.order.event,
            counts_pages=collect.page_views == "Script",
            visitor=document.visitor,
        )

    def use_salt(self, salt: bytes) -> None:
        """Hash addresses with the campaign's salt from now on."""
        self._salt = salt
        if self._document is not None:
            self.use_document(self._document)

    def application(self) -> web.Application:
        """Make the application for the port on loopback."""
        application = web.Application(client_max_size=LARGEST_BATCH)
        application.router.add_get("/fw.js", self._script.answer)
        application.router.add_route("*", "/v1/{call}", self._serve)
        application.router.add_route("*", "/v1/{call}/", self._serve)
        application.on_cleanup.append(self._close)
        return application

    async def _close(self, _application: web.Application) -> None:
        if self._first_visitors is not None:
            await self._first_visitors.close()

    async def _serve(self, request: web.Request) -> web.Response:
        rules, call = self.rules, request.match_info["call"]
        origin, host = request.headers.get("Origin", ""), request.headers.get("Host", "")
        headers = rules.access.headers(origin, host, preflight=request.method == "OPTIONS") if rules else {}
        if call not in SINGLE and call not in BATCHES:
            return _answer(
                404, {"success": False, "message": "There is no such call; see the Segment HTTP API."}, headers
            )
        if request.method == "OPTIONS":
            allowed = "Access-Control-Allow-Origin" in headers
            return web.Response(status=204 if allowed else 403, headers=headers)
        if request.method != "POST":
            allow = {**headers, "Allow": "POST, OPTIONS"}
            return _answer(405, {"success": False, "message": "Calls are made by POST."}, allow)
        try:
            rules = self._ready()
            rules.access.check_origin(origin, host)
            body = await self._body(request, LARGEST_EVENT if call in SINGLE else LARGEST_BATCH)
            if call in SINGLE:
                return await self._single(request, rules, SINGLE[call], body, headers)
            return await self._batch(request, rules, call, body, headers)
        except Refused as error:
            self._meters.reject([error.reason])
            return _refused(error, headers)

    def _ready(self) -> Rules:
        if self.rules is None:
            raise Refused("not_ready", "The edge is not configured yet.")
        return self.rules

    async def _body(self, request: web.Request, limit: int) -> bytes:
        """Read a body, bounded in size and time.

        Raises:
            Refused: It is too large, too slow or not in its encoding.
        """
        found = bytearray()
        try:
            async with asyncio.timeout(self._patience):
                async for chunk in request.content.iter_any():
                    found += chunk
                    self._under_way += len(chunk)
                    if len(found) > limit:
                        raise Refused("too_large", f"The body has more than {limit:,} bytes.")
                    if self._under_way > MOST_UNDER_WAY:
                        raise Refused("not_ready", "Too many bodies are arriving at once. Try again later.")
        except TimeoutError:
            raise Refused("too_slow", f"The body did not arrive within {self._patience:g} s.") from None
        finally:
            self._under_way -= len(found)
        encoding = request.headers.get("Content-Encoding", "")
        return inflate(bytes(found), encoding, limit) if encoding else bytes(found)

    async def _single(
        self, request: web.Request, rules: Rules, kind: str, body: bytes, headers: dict[str, str]
    ) -> web.Response:
        given = _keys(request, None)
        # A body that cannot be read is told to be that, rather than to lack a key.
        rules.access.check_key(
            given if any(given) or "Authorization" in request.headers else [read_event(body).write_key]
        )
        sender = self._sender(request, rules, None)
        taken = rules.intake.take([body], sender, kind)
        await self._keep(rules, taken)
        self._tell(request, taken)
        headers = headers | await self._assignment(request, rules, sender, taken)
        if not taken.rejected or taken.rejected[0].reason == "no_consent":
            return _taken(taken, headers)
        return _refused(Refused(taken.rejected[0].reason, taken.rejected[0].detail), headers)

    async def _batch(
        self, request: web.Request, rules: Rules, call: str, body: bytes, headers: dict[str, str]
    ) -> web.Response:
        envelope = read_envelope(body)
        first = _key_of(envelope.batch[0]) if envelope.batch and not envelope.write_key else None
        rules.access.check_key(_keys(request, envelope.write_key or first))
        sender = self._sender(request, rules, milliseconds(envelope.sent_at))
        if call == "import":
            # What is imported happened long ago, and as the client says.
            sender = sender._replace(horizon=max(HORIZON, rules.retention), sent_at=None)
        taken = rules.intake.batch(envelope, sender)
        await self._keep(rules, taken)
        self._tell(request, taken)
        headers = headers | await self._assignment(request, rules, sender, taken)
        return _taken(taken, headers)

    def _sender(self, request: web.Request, rules: Rules, sent_at: int | None) -> Sender:
        """Read what the edge says of who sent a call; HAProxy deletes such headers of clients."""
        told = request.headers
        consent = told.get("X-FW-Consent", "1") == "1"
        return Sender(
            ingest=self._clock(),
            horizon=HORIZON,
            visitor=told.get("X-FW-Visitor", "")[:256] if consent else "",
            channel=told.get("X-FW-Channel", ""),
            address=rules.addresses.kept(told.get("X-FW-Address", "")),
            consent=consent,
            region=told.get("X-FW-Region", "")[:64],
            user_agent=told.get("User-Agent", ""),
            host=told.get("Host", "").rpartition(":")[0] or told.get("Host", ""),
            sent_at=sent_at,
        )

    async def _keep(self, rules: Rules, taken: Taken) -> None:
        """Append what was taken in to the spool, then count it.

        Raises:
            Refused: It could not be kept; the client has to send it again.
        """
        try:
            if taken.rows:
                await self._append("events", taken.rows)
            elif taken.duplicates:
                # What it repeats may still be on its way to the disk.
                await self._spool.settled()
        except (SpoolFull, OSError) as error:
            rules.intake.forget(taken)
            raise Refused(
                "spool_full" if isinstance(error, SpoolFull) else "disk", f"Try again later: {error}"
            ) from error
        try:
            await self._append("dead_letters", taken.letters)
        except (SpoolFull, OSError):
            self._meters.dropped("dead_letters", "full", len(taken.letters))
        self._count(rules, taken)

    def _tell(self, request: web.Request, taken: Taken) -> None:
        if self._on_taken is not None and taken.rows:
            self._on_taken(taken.rows, request.headers.get("X-FW-Address", ""))

    async def _assignment(self, request: web.Request, rules: Rules, sender: Sender, taken: Taken) -> dict[str, str]:
        """Have the browser of a known person assigned as their first one was; a server's library keeps no cookies."""
        if self._first_visitors is None or not any(name in request.headers for name in _OF_BROWSERS):
            return {}
        user = linked_user(taken.rows, sender.visitor)
        first = await self._first_visitors.find(user, sender.visitor) if user else None
        if first is None:
            return {}
        secure = request.headers.get("X-Forwarded-Proto") == "https"
        return {"Set-Cookie": cookie(first, rules.visitor, secure=secure)}

    async def _append(self, table: Table, rows: Sequence[Row]) -> None:
        await self._spool.append(table, _encoder.encode_lines(rows), len(rows))

    def _count(self, rules: Rules, taken: Taken) -> None:
        meters, words = self._meters, rules.vocabulary
        people = [row for row in taken.rows if not row.bot]
        for (kind, name, channel), count in Counter((row.type, row.event, row.channel) for row in people).items():
            meters.event(words, kind, name, channel, count)
        for row in people:
            if row.type == "track" and row.event == rules.order:
                meters.order(words, row.channel, row.revenue, rules.currency)
            elif row.type == "page" and rules.counts_pages:
                meters.page_view(words, row.service, row.channel, row.variant)
        meters.duplicates.add((), taken.duplicates)
        meters.reject(each.reason for each in taken.rejected if each.reason != "too_many")
        if taken.beyond:
            meters.rejected.add(("too_many",), taken.beyond)


def _keys(request: web.Request, in_body: str | None) -> tuple[str | None, ...]:
    return basic_user(request.headers), in_body, request.query.get("writeKey")


def _key_of(text: bytes | msgspec.Raw) -> str | None:
    try:
        return read_event(text).write_key
    except Refused:
        return None


def _taken(taken: Taken, headers: dict[str, str]) -> web.Response:
    answer: dict[str, object] = {"success": True}
    if taken.rejected:
        answer["rejected"] = taken.rejected[:MOST_REJECTIONS]
    return _answer(200, answer, headers)


def _refused(error: Refused, headers: dict[str, str]) -> web.Response:
    status = _STATUS.get(error.reason, 400)
    if status == 503:
        headers = {**headers, "Retry-After": str(RETRY_AFTER)}
    return _answer(status, {"success": False, "reason": error.reason, "message": error.detail}, headers)


def _answer(status: int, body: dict[str, object], headers: dict[str, str]) -> web.Response:
    content = {**headers, "Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(status=status, body=_encoder.encode(body), headers=content)
