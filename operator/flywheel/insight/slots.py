"""Figures of the slots of one service over a stretch of time: the questions to the store, and the answers.

What the words mean:

- *Requests* were passed on to the service; *errors* and *latency* as in `flywheel.insight.kpi`. Those of programs count
  too: before a slot takes the traffic nobody else asks it, and an error is one whoever sees it.
- *Visitors* are different visitors whom the slot served, without bots.
- An *event* counts for the slot that served its visitor last: with the visitor's latest request to the service, within
  the same stretch of time and not after the event. An order counts once in each slot. Events of visitors without
  identity, of bots, and of those whom the service has not served belong to no slot.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flywheel.insight.kpi import FAILED, QUANTILES, VISITOR_KEY, Rows, Statement

MOST_SLOTS = 16
MOST_EVENTS = 8
LONGEST_WINDOW = 86_400_000
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class SlotScope:
    """What is asked about."""

    campaign: str
    service: str
    start: int
    """Milliseconds since 1970; included."""
    end: int
    """Excluded."""
    events: tuple[str, ...] = ()
    """Names of events that are counted."""


@dataclass(frozen=True, slots=True)
class SlotFigures:
    """Figures of one slot."""

    requests: int = 0
    requests_of_bots: int = 0
    errors: int = 0
    p50: float | None = None
    """Seconds; None where nothing was answered."""
    p95: float | None = None
    p99: float | None = None
    visitors: int = 0
    events: Mapping[str, int] = field(default_factory=dict)

    def latency(self, quantile: Literal["p50", "p95", "p99"]) -> float | None:
        """Give one percentile, in seconds."""
        return {"p50": self.p50, "p95": self.p95, "p99": self.p99}[quantile]

    def plain(self) -> dict[str, Any]:
        """Give them for JSON."""
        return {
            "requests": self.requests,
            "requests_of_bots": self.requests_of_bots,
            "errors": self.errors,
            "p50": self.p50,
            "p95": self.p95,
            "p99": self.p99,
            "visitors": self.visitors,
            "events": dict(self.events),
        }


def requests_statement(scope: SlotScope) -> Statement:
    """Ask for requests, errors, latency and visitors by slot."""
    levels = ", ".join(map(str, QUANTILES))
    sql = (
        f"WITH {FAILED} "
        "SELECT slot, count() AS requests, countIf(bot) AS bots, countIf(failed) AS errors, "
        "countIf(NOT unanswered) AS answered, "
        f"quantilesExactWeightedIf({levels})(toFloat64(duration_ms), 1, NOT unanswered) AS latencies, "
        f"uniqExactIf({VISITOR_KEY}, NOT bot AND {VISITOR_KEY} != 0) AS visitors "
        f"FROM requests WHERE {_SERVED} GROUP BY slot ORDER BY requests DESC, slot LIMIT {MOST_SLOTS}"
    )
    return Statement(sql, _parameters(scope))


def events_statement(scope: SlotScope) -> Statement:
    """Ask for the named events by slot."""
    served = (
        # Two requests in one millisecond: the slot that comes last in the alphabet, so that it is always the same.
        f"SELECT {VISITOR_KEY} AS visitor_number, time AS served_at, max(slot) AS last_slot FROM requests "
        f"WHERE {_SERVED} AND NOT bot AND {VISITOR_KEY} != 0 GROUP BY visitor_number, served_at"
    )
    happened = (
        f"SELECT {VISITOR_KEY} AS visitor_number, time AS happened_at, event, "
        "if(order_id = '', xxHash64(message_id), cityHash64(order_id)) AS identity FROM events "
        f"WHERE {_WITHIN} AND bot = 0 AND type = 'track' AND {VISITOR_KEY} != 0 "
        "AND has(JSONExtract(unhex({events:String}), 'Array(String)'), event)"
    )
    sql = (
        "SELECT last_slot AS slot, event, uniqExact(identity) AS happened "
        f"FROM ({happened}) AS happened ASOF JOIN ({served}) AS served "
        "ON happened.visitor_number = served.visitor_number AND happened.happened_at >= served.served_at "
        "GROUP BY slot, event"
    )
    named = json.dumps(list(scope.events), ensure_ascii=False)
    return Statement(sql, _parameters(scope) | {"events": named.encode().hex()})


def shape(scope: SlotScope, requests: Rows, events: Rows = ()) -> dict[str, SlotFigures]:
    """Put the answers together, by slot."""
    return {
        str(row["slot"]): SlotFigures(
            requests=int(row["requests"]),
            requests_of_bots=int(row["bots"]),
            errors=int(row["errors"]),
            **_latencies(row),
            visitors=int(row["visitors"]),
            events=_counted(scope.events, events, str(row["slot"])),
        )
        for row in requests
    }


_WITHIN = "campaign = {campaign:String} AND time >= {start:Int64} AND time < {end:Int64}"
_SERVED = (
    f"{_WITHIN} AND service = unhex({{service:String}}) AND refused = '' AND NOT startsWith(termination, 'L') "
    "AND slot != ''"
)


def _parameters(scope: SlotScope) -> dict[str, Any]:
    return {
        "campaign": scope.campaign,
        "service": scope.service.encode().hex(),
        "start": scope.start,
        "end": scope.end,
    }


def _latencies(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("p50", "p95", "p99")
    if not int(row["answered"]):
        return dict.fromkeys(names)
    return {name: round(float(value) / 1000, 6) for name, value in zip(names, row["latencies"], strict=True)}


def _counted(names: Iterable[str], rows: Rows, slot: str) -> dict[str, int]:
    found = {str(row["event"]): int(row["happened"]) for row in rows if str(row["slot"]) == slot}
    return {name: found.get(name, 0) for name in names}
