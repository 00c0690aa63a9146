"""HAProxy's access log: one JSON object a datagram, made into rows, page views and figures.

UDP on loopback costs HAProxy nothing, and loses records when this process is away or slow. What is lost is counted:
HAProxy's own counters of requests, less the records that came.
"""

import asyncio
import contextlib
import logging
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from flywheel.edge.document import EdgeDocument
from flywheel.events.addresses import Addresses
from flywheel.events.agents import browser_of, device_of
from flywheel.events.bots import is_bot
from flywheel.events.losses import Losses, WorkerCount
from flywheel.events.meters import COLLECT_SERVICE, Meters, Vocabulary
from flywheel.events.rows import EventRow, RequestRow, Row
from flywheel.events.spool import Spool, SpoolFull, Table

log = logging.getLogger(__name__)

RECEIVE_BUFFER = 8 << 20
"""Bytes asked of the kernel, which may give less: seconds of records while this process is busy."""
LARGEST_RECORD = 65_536
FLUSH = 0.2
"""Seconds for which rows gather in memory; they are lost with the process, and then counted as lost."""
MOST_WAITING = 20_000
LONGEST_PATH = 1_024
LONGEST_TEXT = 256
_AT_ONCE = 500
_MOST_APART = 2.0
"""Milliseconds that two clocks, which HAProxy reads once a round of its loop, may differ by on the same stretch."""
_encoder = msgspec.json.Encoder()


class Record(msgspec.Struct):
    """One request as HAProxy writes it; see the log format of the edge's configuration."""

    id: str
    t: int
    st: int
    d: float = 0.0
    """Whole milliseconds from the first byte of the request to the last of the answer, by a clock that never jumps."""
    du: int = 0
    """Tenths of microseconds from the last byte of the request's head on, by the wall clock; 0 where not known."""
    sd: float = -1.0
    svc: str = ""
    slot: str = ""
    test: str = ""
    var: str = ""
    fb: str = ""
    """`1` where the control answered in place of the variant."""
    ch: str = ""
    reg: str = ""
    host: str = ""
    m: str = ""
    p: str = ""
    bi: int = 0
    bo: int = 0
    vid: str = ""
    nv: int = 0
    page: int = 0
    ua: str = ""
    ref: str = ""
    us: str = ""
    um: str = ""
    uc: str = ""
    uo: str = ""
    ut: str = ""
    ts: str = ""
    rf: str = ""
    ip: str = ""
    cns: int = 1
    pid: int = 0


_records = msgspec.json.Decoder(Record, strict=False)


class LogRules:
    """What one document says about the access log."""

    def __init__(self, document: EdgeDocument, salt: bytes, pod: str = "") -> None:
        self._pod = pod
        self.vocabulary = Vocabulary(document)
        self._addresses = Addresses(document.collect.addresses, salt)
        self._keep = document.collect.retention
        self.page_events = document.collect.page_views == "Edge"

    def request(self, record: Record, ingest: int) -> RequestRow:
        """Make the row of a request."""
        agreed = bool(record.cns)
        return RequestRow(
            # What HAProxy could not even read has no id, and would count as a repetition of the first such.
            request_id=record.id[:LONGEST_TEXT] or f"fw-{uuid.uuid4().hex}",
            time=record.t,
            ingest_time=ingest,
            service=record.svc,
            slot=record.slot,
            test=record.test,
            variant=record.var,
            fallback=int(bool(record.fb)),
            channel=record.ch[:LONGEST_TEXT],
            region=record.reg[:64],
            host=record.host[:LONGEST_TEXT],
            method=record.m[:16],
            path=record.p[:LONGEST_PATH],
            # -1 where nothing was answered: the store has no room for a sign, and would take back the whole batch.
            status=min(max(record.st, 0), 999),
            duration_ms=_milliseconds(record),
            server_ms=record.sd,
            bytes_in=max(record.bi, 0),
            bytes_out=max(record.bo, 0),
            visitor=record.vid[:LONGEST_TEXT] if agreed else "",
            new_visitor=bool(record.nv) and agreed,
            bot=is_bot(record.ua, browser=True),
            page=bool(record.page),
            termination=record.ts[:4],
            refused=record.rf[:32],
            address=self._addresses.kept(record.ip) if agreed else "",
            browser=browser_of(record.ua) if agreed else "",
            device=device_of(record.ua) if agreed else "",
            pod=self._pod,
            expires_at=record.t // 1000 + self._keep,
        )

    def page(self, record: Record, row: RequestRow) -> EventRow:
        """Make the page view of a request that was answered with a page."""
        agreed = bool(record.cns)
        return EventRow(
            # The request's id: the same page view, should it ever be written twice, counts once.
            message_id=f"pv-{row.request_id}",
            type="page",
            time=row.time,
            original_time=row.time,
            ingest_time=row.ingest_time,
            visitor=row.visitor,
            channel=row.channel,
            utm_source=record.us[:LONGEST_TEXT].lower(),
            utm_medium=record.um[:LONGEST_TEXT].lower(),
            utm_campaign=record.uc[:LONGEST_TEXT].lower(),
            utm_content=record.uo[:LONGEST_TEXT].lower(),
            utm_term=record.ut[:LONGEST_TEXT].lower(),
            referrer=record.ref[:LONGEST_TEXT].lower(),
            url=f"//{row.host}{row.path}" if row.host else row.path,
            path=row.path,
            service=row.service,
            variant=row.variant,
            region=row.region,
            bot=row.bot,
            consent=agreed,
            address=row.address,
            user_agent=record.ua[:512] if agreed else "",
            source="edge",
            expires_at=row.expires_at,
        )


class AccessLog:
    """Listens for records, counts them, and appends them to the spool."""

    def __init__(
        self,
        spool: Spool,
        meters: Meters,
        state: Path,
        *,
        pod: str = "",
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
        on_page: Callable[[Sequence[EventRow], str], None] | None = None,
    ) -> None:
        """Make a log reader.

        Args:
            spool: Where rows go.
            meters: Where requests and page views are counted.
            state: File that remembers how many records of each HAProxy process came.
            pod: Where this runs.
            clock: The wall clock, in milliseconds.
            on_page: Told of page views at once, with the client's address. Must not wait.
        """
        self._on_page = on_page
        self._spool, self._meters, self._clock, self._pod = spool, meters, clock, pod
        self._losses = Losses.read(state)
        self._state = state
        self._salt = b""
        self._document: EdgeDocument | None = None
        self._rules: LogRules | None = None
        self._requests: list[Row] = []
        self._pages: list[Row] = []
        self._came: dict[int, int] = {}
        self._socket: socket.socket | None = None
        self.port = 0

    def use_document(self, document: EdgeDocument) -> None:
        """Read records as a document says from now on."""
        self._document = document
        self._rules = LogRules(document, self._salt, self._pod)

    def use_salt(self, salt: bytes) -> None:
        """Hash addresses with the campaign's salt from now on."""
        self._salt = salt
        if self._document is not None:
            self.use_document(self._document)

    async def listen(self, port: int) -> None:
        """Listen on loopback.

        Raises:
            OSError: The port is taken.
        """
        receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        receiving.setblocking(False)
        receiving.bind(("127.0.0.1", port))
        self.port = receiving.getsockname()[1]
        self._socket = receiving
        asyncio.get_running_loop().add_reader(receiving, self._read, receiving)

    def stop_listening(self) -> None:
        """Read what has arrived, and listen no more."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        while self._read(self._socket):
            pass
        self._socket.close()
        self._socket = None

    def _read(self, receiving: socket.socket) -> int:
        """Read records that wait, but leave the others on this loop their turn."""
        for count in range(_AT_ONCE):
            try:
                self.take(receiving.recv(LARGEST_RECORD))
            except (BlockingIOError, InterruptedError):
                return count
        return _AT_ONCE

    def take(self, datagram: bytes) -> None:
        """Take in one record."""
        try:
            record = _records.decode(_object(datagram))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._meters.log_bad.add()
            return
        self._came[record.pid] = self._came.get(record.pid, 0) + 1
        rules = self._rules
        if record.svc == COLLECT_SERVICE or rules is None:
            return
        row = rules.request(record, self._clock())
        self._count(rules, row)
        if len(self._requests) >= MOST_WAITING:
            self._meters.dropped("requests", "full", 1)
            return
        self._requests.append(row)
        if row.page and rules.page_events:
            page = rules.page(record, row)
            self._pages.append(page)
            if self._on_page is not None:
                self._on_page([page], record.ip)

    def _count(self, rules: LogRules, row: RequestRow) -> None:
        words, meters = rules.vocabulary, self._meters
        labels = (words.service(row.service), words.slot(row.slot), words.variant(row.variant))
        meters.requests.add((*labels, _code(row.status)))
        if row.refused:
            meters.refuse(row.refused)
        # A client that goes away is no failure of the service.
        if row.status >= 500 or (row.status < 100 and not row.termination.startswith("C")):
            meters.errors.add(labels)
        if row.duration_ms >= 0:
            meters.durations.observe(labels, row.duration_ms / 1000)
        if row.page and not row.bot and rules.page_events:
            meters.page_view(words, row.service, row.channel, row.variant)
            meters.event(words, "page", "", row.channel)

    async def run(self) -> None:
        """Append rows to the spool, for ever."""
        while True:
            await asyncio.sleep(FLUSH)
            await self.flush()

    async def flush(self) -> None:
        """Append what has gathered to the spool, and note from whom it came."""
        came, self._came = self._came, {}
        pages, self._pages = self._pages, []
        requests, self._requests = self._requests, []
        await self._append("events", pages)
        await self._append("requests", requests)
        if came:
            self._losses.add(came)
            await self._write_state()

    async def _append(self, table: Table, rows: list[Row]) -> None:
        try:
            await self._spool.append(table, _encoder.encode_lines(rows), len(rows))
        except SpoolFull:
            self._meters.dropped(table, "full", len(rows))
        except OSError as error:
            self._meters.dropped(table, "disk", len(rows))
            log.error("The spool takes no rows of the access log: %s", error)  # noqa: TRY400

    async def compare(self, counted: Mapping[int, WorkerCount]) -> None:
        """Compare what HAProxy's processes counted with the records that came from them."""
        await self.flush()
        lost = self._losses.compare(counted)
        if lost:
            self._meters.log_lost.add((), lost)
        await self._write_state()

    async def _write_state(self) -> None:
        # Where the disk is full, only the count of what was lost suffers.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._losses.write, self._state)


def _object(datagram: bytes) -> bytes:
    """Cut off what a syslog header puts in front."""
    start = datagram.find(b"{")
    return datagram[start:] if start > 0 else datagram


def _milliseconds(record: Record) -> float:
    """Give how long a request took: as finely as the wall clock tells, where it was not set meanwhile.

    Whole milliseconds would make a page that takes 0.9 ms infinitely quicker than one that takes 1.1.
    """
    finely = record.du / 10_000
    return finely if finely > 0 and abs(finely - record.d) < _MOST_APART else record.d


def _code(status: int) -> str:
    return f"{status // 100}xx" if 100 <= status < 600 else "none"
