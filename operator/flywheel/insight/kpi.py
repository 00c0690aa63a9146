"""Key figures of a campaign over one window of time: the questions to the store, and the answers as dataclasses.

What the words mean:

- A *record* is an event, or a request that was answered with a page. Records of bots are left out of everything, and
  counted apart.
- *Page views*: pages that the edge answered (`pageViews: Edge`), or `page` calls of script and libraries (`Script`).
- *Visitors*: different visitors with a record. Whoever did not consent has no identity and is no visitor.
- *Sessions*: a visitor's records, cut where more than `sessionTimeout` lies between two of them. The start of a window
  cuts too: a session that goes on counts in each window in which it has a record.
- *Orders*: events of the order event, each `order_id` once; without one each event is an order. Of several events of
  one order the first counts, one with a known currency before all without; of several in one millisecond, always the
  same.
- *Revenue*: of those orders, in the reporting currency. Orders in a currency without a rate count as orders, and once
  more as `unpriced_orders`; the average order value leaves them out.
- *Conversion*: visitors with an order among all visitors.
- *Requests* are those that were passed on to a service. *Errors* are 5xx among them, or no answer at all, unless the
  client went away first. *Latency* is the time to the last byte of those that were answered; percentiles are nearest
  ranks, so each is a latency that somebody had.

Windows follow the time of the event, not of its arrival: what comes late is counted where it belongs, as soon as it is
there. A figure of the past may thus still grow; what Prometheus sampled earlier stays as it was seen then.

By channel, service, variant or region, a figure is about the records that carry the value: a visitor counts under each
value that they came with, a session under that of its first record (of several in one millisecond, the first in the
alphabet), an order under that of the event that counts. So page views, sessions and orders add up, visitors do not.
The most frequent values are told apart, all others are one: `OTHERS`.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from flywheel.edge.naming import PREVIEW_CHANNEL

Dimension = Literal["channel", "service", "variant", "region"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
WINDOWS: Mapping[str, int] = {"1m": 60_000, "15m": 900_000, "1h": 3_600_000, "campaign": 0}
"""Name and length in milliseconds; the campaign's own goes back to its start."""
MOST_VALUES = 60
OTHERS = "(others)"
QUANTILES = (0.5, 0.95, 0.99)
FAILED = "server_ms < 0 AS unanswered, status >= 500 OR (unanswered AND NOT startsWith(termination, 'C')) AS failed"
"""For the WITH of a question about requests: which were not answered, and which are errors."""
VISITOR_KEY = "visitor_key"
"""A hash of 64 bits instead of the visitor's text, several times as fast. Among a million visitors two share one with a
chance of 1 : 37 million, and then count as one; so do orders."""
RECORDS_AT_ONCE = 8_000_000
"""Visitors are counted in several rounds where there are more, so that memory stays bounded."""

Parameters = dict[str, str | int | float | bool | list[str] | list[int]]
"""Texts from outside travel as hexadecimal digits: every client and engine takes those alike."""
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Statement:
    """One question to the store."""

    sql: str
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked about: a campaign, a stretch of time, and how the campaign counts."""

    campaign: str
    start: int
    """Milliseconds since 1970; included."""
    end: int
    """Excluded."""
    by: Dimension | None = None
    order_event: str = "Order Completed"
    page_views: Literal["Edge", "Script"] = "Edge"
    session_timeout: int = 1800
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Key figures of all records of a window, or of those with one value of a dimension. None: nothing to tell from."""

    page_views: int = 0
    visitors: int = 0
    sessions: int = 0
    orders: int = 0
    unpriced_orders: int = 0
    buyers: int = 0
    """Visitors with an order."""
    revenue: float = 0.0
    requests: int = 0
    errors: int = 0
    latency_p50: float | None = None
    """Seconds."""
    latency_p95: float | None = None
    latency_p99: float | None = None

    @property
    def average_order_value(self) -> float | None:
        """Revenue of an order whose value is known."""
        return _ratio(self.revenue, self.orders - self.unpriced_orders)

    @property
    def conversion(self) -> float | None:
        """Share of visitors with an order."""
        return _ratio(self.buyers, self.visitors)

    @property
    def error_rate(self) -> float | None:
        """Share of requests that failed."""
        return _ratio(self.errors, self.requests)

    def plain(self) -> dict[str, Any]:
        """Give them all for JSON."""
        derived = {name: getattr(self, name) for name in ("average_order_value", "conversion", "error_rate")}
        return asdict(self) | derived


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """The key figures of one window."""

    window: str
    start: int
    end: int
    total: Figures
    by: Dimension | None = None
    parts: dict[str, Figures] = field(default_factory=dict)
    """By value of the dimension, the most frequent first."""
    bot_events: int = 0
    bot_requests: int = 0

    def plain(self) -> dict[str, Any]:
        """Give them for JSON."""
        return {
            "window": self.window,
            "start": self.start,
            "end": self.end,
            "bot_events": self.bot_events,
            "bot_requests": self.bot_requests,
            "total": self.total.plain(),
            "by": self.by,
            "parts": {value: figures.plain() for value, figures in self.parts.items()},
        }


def bounds(window: str, campaign_start: int, now: int) -> tuple[int, int]:
    """Give start and end of a window that ends now; one of `WINDOWS`, or the campaign's own."""
    length = WINDOWS[window]
    return (now - length if length else min(campaign_start, now)), now


def values_statement(scope: Scope) -> Statement:
    """Ask which values of the dimension there are, the most frequent first."""
    if scope.by is None:
        raise ValueError("without a dimension there are no values to ask for")
    both = " UNION ALL ".join(
        f"SELECT {scope.by} AS value, count() AS records FROM {table} WHERE {_WITHIN} AND bot = 0 GROUP BY value"
        for table in ("events", "requests")
    )
    sql = f"SELECT value FROM ({both}) GROUP BY value ORDER BY sum(records) DESC, value LIMIT {MOST_VALUES}"
    return Statement(sql, _parameters(scope))


def events_statement(scope: Scope) -> Statement:
    """Ask for the number of events, those of bots included, and for the bots."""
    sql = (
        f"SELECT (SELECT count() FROM events WHERE {_WITHIN}) AS records, "
        f"(SELECT count() FROM events WHERE {_WITHIN} AND bot = 1) AS bots"
    )
    return Statement(sql, _parameters(scope))


def pages_statement(scope: Scope, values: Sequence[str] = ()) -> Statement:
    """Ask for page views as scripts and libraries tell of them."""
    sql = (
        f"SELECT {_grouped(scope)} count() AS page_views FROM events "
        f"WHERE {_WITHIN} AND bot = 0 AND type = 'page' AND source != 'edge'{_grouping(scope)}"
    )
    return Statement(sql, _parameters(scope, values))


def requests_statement(scope: Scope, values: Sequence[str] = ()) -> Statement:
    """Ask for requests, errors, latency and page views of the edge."""
    levels = ", ".join(map(str, QUANTILES))
    sql = (
        f"WITH NOT bot AND refused = '' AND service != '' AND channel != '{PREVIEW_CHANNEL}' "
        "AND NOT startsWith(termination, 'L') AS served, "
        f"{FAILED} "
        f"SELECT {_grouped(scope)} countIf(page AND NOT bot) AS pages, countIf(served) AS requests, "
        "countIf(served AND failed) AS errors, countIf(served AND NOT unanswered) AS answered, countIf(bot) AS bots, "
        f"quantilesExactWeightedIf({levels})(toFloat64(duration_ms), 1, served AND NOT unanswered) AS latencies "
        f"FROM requests WHERE {_WITHIN}{_grouping(scope)}"
    )
    return Statement(sql, _parameters(scope, values))


def orders_statement(scope: Scope, values: Sequence[str] = ()) -> Statement:
    """Ask for orders, what they were worth, and how many visitors gave one."""
    # One number to compare instead of three: unknown values last, then by time, then by whatever tells two apart.
    rank = "bitShiftLeft(toUInt128(revenue_unknown), 127) + bitShiftLeft(toUInt128(time), 64) + xxHash64(message_id)"
    sql = (
        f"SELECT {_grouped(scope, 'place_of_order')} count() AS orders, countIf(unknown) AS unpriced, "
        "sumIf(worth, NOT unknown) AS revenue, uniqExactIf(buyer, buyer != 0) AS buyers FROM ("
        f"WITH {rank} AS rank SELECT argMin(revenue, rank) AS worth, argMin(revenue_unknown, rank) AS unknown, "
        f"argMin({VISITOR_KEY}, rank) AS buyer, argMin({_place(scope)}, rank) AS place_of_order FROM events "
        f"WHERE {_WITHIN} AND bot = 0 AND type = 'track' AND event = unhex({{order:String}}) "
        f"GROUP BY if(order_id = '', xxHash64(message_id), cityHash64(order_id))){_grouping(scope)}"
    )
    return Statement(sql, _parameters(scope, values) | {"order": _hex(scope.order_event)})


def goal_statement(scope: Scope, event: str) -> Statement:
    """Ask how often an event that is no order happened."""
    of_event = "bot = 0 AND type = 'track' AND event = unhex({goal:String})"
    return Statement(
        f"SELECT count() AS reached FROM events WHERE {_WITHIN} AND {of_event}",
        _parameters(scope) | {"goal": _hex(event)},
    )


def visitors_statements(scope: Scope, values: Sequence[str] = (), records: int = 0) -> tuple[Statement, ...]:
    """Ask for visitors and sessions; the answers of all rounds together are the answer."""
    rounds = 1 + records // RECORDS_AT_ONCE
    share = f"AND {VISITOR_KEY} % {{rounds:UInt32}} = {{round:UInt32}}" if rounds > 1 else ""
    sql = _visitors(share) if scope.by is None else _visitors_by(scope, share)
    own = _parameters(scope, values) | {"timeout": scope.session_timeout * 1000, "rounds": rounds}
    return tuple(Statement(sql, own | {"round": number}) for number in range(rounds))


def shape(
    window: str,
    scope: Scope,
    values: Sequence[str],
    *,
    events: Rows,
    pages: Rows,
    requests: Rows,
    orders: Rows,
    visitors: Rows,
) -> WindowFigures:
    """Put the answers together. `values` as the store ranked them; `visitors` holds the rows of all rounds."""
    answers = tuple(map(_by_place, (pages, requests, orders)))
    counted = _visitors_by_place(visitors)
    parts: dict[str, Figures] = {}
    places = {value: place for place, value in enumerate(sorted(values), 1)} | {OTHERS: _OTHER_PLACE}
    for value in (*values, OTHERS) if scope.by else ():
        place = places[value]
        own = _Answers(*(rows.get(place, {}) for rows in answers))
        figures = _figures(scope, own, counted.get(place, (0, 0)))
        if figures != Figures():
            parts[value] = figures
    whole = _Answers(*(rows.get(_TOTAL, {}) for rows in answers))
    return WindowFigures(
        window=window,
        start=scope.start,
        end=scope.end,
        total=_figures(scope, whole, counted.get(_TOTAL, (0, 0))),
        by=scope.by,
        parts=parts,
        bot_events=sum(int(row["bots"]) for row in events),
        bot_requests=int(whole.requests.get("bots", 0)),
    )


_WITHIN = "campaign = {campaign:String} AND time >= {start:Int64} AND time < {end:Int64}"
_TOTAL = -1
_OTHER_PLACE = 0
# A visitor's codes: places of the values seen, then 64 more for the places of the starts of sessions.
_SESSION_CODES = 64
_VISITOR_CODE = 128


def _parameters(scope: Scope, values: Sequence[str] = ()) -> Parameters:
    own: Parameters = {"campaign": scope.campaign, "start": scope.start, "end": scope.end}
    return own | ({"values": _hex(json.dumps(sorted(values)))} if scope.by else {})


def _hex(text: str) -> str:
    return text.encode().hex()


def _place(scope: Scope) -> str:
    """The place of a row's value in the alphabet of values, from 1; 0 for the others."""
    if scope.by is None:
        return "toUInt8(0)"
    values = "JSONExtract(unhex({values:String}), 'Array(String)')"
    return f"transform({scope.by}, {values}, arrayMap(place -> toUInt8(place), arrayEnumerate({values})), toUInt8(0))"


def _grouped(scope: Scope, place: str = "") -> str:
    if scope.by is None:
        return ""
    return (
        f"toInt16({place or _place(scope)}) AS own_place, if(grouping(own_place) = 1, {_TOTAL}, own_place) AS place, "
    )


def _grouping(scope: Scope) -> str:
    return "" if scope.by is None else " GROUP BY GROUPING SETS ((), (own_place))"


def _records(columns: str, share: str) -> str:
    """The records of visitors, or of a share of them, of both tables."""
    return " UNION ALL ".join(
        f"SELECT {VISITOR_KEY} AS visitor_number, {columns} FROM {table} "
        f"WHERE {_WITHIN} AND bot = 0 AND {VISITOR_KEY} != 0 {share} {only}"
        for table, only in (("events", ""), ("requests", "AND page"))
    )


def _visitors(share: str) -> str:
    gaps = "arrayDifference(arraySort(groupArray(time)))"
    return (
        f"SELECT {_VISITOR_CODE} AS code, count() AS visitors, sum(sessions) AS sessions FROM ("
        f"SELECT 1 + arrayCount(gap -> gap > {{timeout:Int64}}, {gaps}) AS sessions "
        f"FROM ({_records('time', share)}) GROUP BY visitor_number)"
    )


def _visitors_by(scope: Scope, share: str) -> str:
    # A moment is the time in its upper bits and the place below: one number, so that one sort brings both in order.
    # Two of the same visitor differ by 128 for each millisecond, give or take 63 for the places.
    moment = f"bitShiftLeft(toUInt64(time - {{start:Int64}}), 7) + {_place(scope)} AS moment"
    bit = f"bitShiftLeft(toUInt64(1), {_place(scope)}) AS bit"
    codes = (
        f"arrayConcat([toUInt8({_VISITOR_CODE})], arrayMap(place -> toUInt8(place), bitPositionsToArray(places)), "
        f"arrayMap(start -> toUInt8({_SESSION_CODES} + bitAnd(start, 63)), starts))"
    )
    return (
        "SELECT code, count() AS visitors FROM ("
        "SELECT arraySort(groupArray(moment)) AS moments, groupBitOr(bit) AS places, "
        "arrayPushFront(arrayFilter((start, gap) -> gap >= 128 * {timeout:Int64} + 64, moments, "
        f"arrayDifference(moments)), moments[1]) AS starts, {codes} AS codes "
        f"FROM ({_records(f'{moment}, {bit}', share)}) GROUP BY visitor_number) ARRAY JOIN codes AS code GROUP BY code"
    )


def _by_place(rows: Rows) -> dict[int, Mapping[str, Any]]:
    return {int(row.get("place", _TOTAL)): row for row in rows}


def _visitors_by_place(rows: Rows) -> dict[int, tuple[int, int]]:
    """Visitors and sessions by place, and in all."""
    visitors: dict[int, int] = {}
    sessions: dict[int, int] = {}
    for row in rows:
        code, count = int(row["code"]), int(row["visitors"])
        if code == _VISITOR_CODE:
            visitors[_TOTAL] = visitors.get(_TOTAL, 0) + count
            sessions[_TOTAL] = sessions.get(_TOTAL, 0) + int(row.get("sessions") or 0)
        elif code < _SESSION_CODES:
            visitors[code] = visitors.get(code, 0) + count
        else:
            for place in (code - _SESSION_CODES, _TOTAL):
                sessions[place] = sessions.get(place, 0) + count
    return {place: (count, sessions.get(place, 0)) for place, count in visitors.items()}


@dataclass(frozen=True, slots=True)
class _Answers:
    """The rows about one value, or about all."""

    pages: Mapping[str, Any]
    requests: Mapping[str, Any]
    orders: Mapping[str, Any]


def _figures(scope: Scope, answers: _Answers, visitors: tuple[int, int]) -> Figures:
    requests, orders = answers.requests, answers.orders
    pages = requests.get("pages", 0) if scope.page_views == "Edge" else answers.pages.get("page_views", 0)
    return Figures(
        page_views=int(pages),
        visitors=visitors[0],
        sessions=visitors[1],
        orders=int(orders.get("orders", 0)),
        unpriced_orders=int(orders.get("unpriced", 0)),
        buyers=int(orders.get("buyers", 0)),
        revenue=round(float(orders.get("revenue") or 0.0), 4),
        requests=int(requests.get("requests", 0)),
        errors=int(requests.get("errors", 0)),
        **_latencies(requests),
    )


def _latencies(requests: Mapping[str, Any]) -> dict[str, float | None]:
    names = ("latency_p50", "latency_p95", "latency_p99")
    if not int(requests.get("answered", 0)):
        return dict.fromkeys(names)
    return {name: round(float(value) / 1000, 6) for name, value in zip(names, requests["latencies"], strict=True)}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole and math.isfinite(part) else None


def merge_rows(answers: Iterable[Rows]) -> list[Mapping[str, Any]]:
    """Put the rows of several rounds one after the other."""
    return [row for rows in answers for row in rows]
