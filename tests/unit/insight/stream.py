"""A stream of events and requests as sidecars deliver it on a bad day: made from a seed."""

import random
from dataclasses import dataclass, field

import msgspec

from flywheel.events.rows import EventRow, RequestRow

HOUR = 3_600_000
NOW = 1_813_104_000_000
START = NOW - 6 * HOUR
TIMEOUT = 1800
LATER = 4_000_000_000
ODD_VALUES = ("", "a'b", "c\\d\t", "中文", 'e"f')


@dataclass
class Stream:
    """The rows to deliver, those that come again included."""

    events: list[EventRow] = field(default_factory=list)
    requests: list[RequestRow] = field(default_factory=list)

    def delivered(self, table: str) -> bytes:
        """Give the body of a delivery."""
        rows = self.events if table == "events" else self.requests
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)

    def kept(self) -> "Stream":
        """Give what the store keeps: the first of those with the same identity."""
        events = {row.message_id: row for row in reversed(self.events)}
        requests = {row.request_id: row for row in reversed(self.requests)}
        return Stream(list(events.values()), list(requests.values()))


def make_stream(seed: int, size: int) -> Stream:
    """Make about `size` events and as many requests; about a third lies at the edges of windows and sessions."""
    rng = random.Random(seed)
    stream = Stream()
    visitors = [f"visitor-{number}" for number in range(max(2, size // 8))] + [""]
    values = {
        "channel": ("direct", "paid-search", "email", *ODD_VALUES),
        "service": ("landing", "seckill", "pay", ""),
        "variant": ("", "red", "green"),
        "region": ("east", "north", *ODD_VALUES),
    }
    moments = [START - 1, START, NOW - 1, NOW, NOW - HOUR, NOW - HOUR - 1, NOW - 60_000]
    for number in range(size):
        # A visitor's next record: somewhere, or right at the end of the session that another one has begun.
        moment = rng.choice((rng.randrange(START - HOUR, NOW + HOUR), rng.choice(moments)))
        moments.append(moment + TIMEOUT * 1000 + rng.choice((-1, 0, 0, 1, 1)))
        where = {name: rng.choice(options) for name, options in values.items()}
        who = {"visitor": rng.choice(visitors), "bot": rng.random() < 0.1}
        stream.events.append(_event(rng, number, moment, {**where, **who}))
        at = rng.choice((moment, rng.choice(moments)))
        stream.requests.append(_request(rng, number, at, {**where, **who}))
    for rows in (stream.events, stream.requests):
        rows.extend(rng.choices(rows, k=size // 5))
        # Arrival has nothing to do with time.
        rng.shuffle(rows)
    return stream


def _event(rng: random.Random, number: int, moment: int, where: dict[str, object]) -> EventRow:
    kind = rng.choice(("page", "track", "track", "identify"))
    orders = kind == "track" and rng.random() < 0.6
    unknown = orders and rng.random() < 0.2
    return msgspec.convert(
        {
            "message_id": f"m{number}",
            "type": kind,
            "event": "Order Completed"
            if orders
            else rng.choice(("", "Coupon Claimed", "Order Completed "))
            if kind == "track"
            else rng.choice(("Home", "Order Completed")),
            "time": moment,
            "original_time": moment + rng.randrange(-HOUR, HOUR),
            "ingest_time": moment + rng.randrange(0, 5 * HOUR),
            "order_id": rng.choice(("", f"o{rng.randrange(20)}", f"m{rng.randrange(20)}")) if orders else "",
            "revenue": 0.0 if unknown or not orders else rng.randrange(1, 100_000) / 100,
            "currency": rng.choice(("CNY", "USD")) if orders else "",
            "revenue_unknown": unknown,
            "source": rng.choice(("edge", "script", "library")),
            "expires_at": LATER,
            **where,
        },
        EventRow,
    )


def _request(rng: random.Random, number: int, moment: int, where: dict[str, object]) -> RequestRow:
    status = rng.choice((200, 200, 200, 302, 404, 500, 503))
    refused = rng.random() < 0.1
    answered = rng.random() < 0.9
    return msgspec.convert(
        {
            "request_id": f"r{number}",
            "time": moment,
            "ingest_time": moment,
            "status": status,
            "duration_ms": float(rng.randrange(1, 4000)) / 2,
            "server_ms": float(rng.randrange(0, 50)) if answered else -1.0,
            "page": status == 200 and rng.random() < 0.5,
            "termination": rng.choice(("--", "--", "CD", "LR", "SC")),
            "refused": "rate" if refused else "",
            "expires_at": LATER,
            **where,
        },
        RequestRow,
    )
