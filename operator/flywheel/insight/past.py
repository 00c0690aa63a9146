"""What visitors of a service did before there was a test: who comes, and what a metric is without any variant.

A visitor counts from the first request to the service within the stretch of time that is asked about, and then as one
who is exposed to a test would: by events after it. So what is found is what the control of a test would show.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is quoted

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.events.schema import quote
from flywheel.insight.arms import Amount, Outcome, Sums
from flywheel.insight.exposures import TAKES_PART
from flywheel.insight.kpi import VISITOR_KEY

DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class PastScope:
    """What is asked about."""

    campaign: str
    service: str
    start: int
    """Milliseconds since 1970; included."""
    end: int
    """Excluded."""
    within: int
    """Milliseconds after the first request in which an event counts."""
    paths: tuple[str, ...] = ()
    """Where somebody enters; `*` at the end stands for anything."""
    devices: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What was found."""

    visitors: int = 0
    days: float = 0.0
    """From the first visitor that is known to the end."""
    sums: Sums = field(default_factory=Sums)

    @property
    def per_day(self) -> float:
        """Visitors a day who were not there before."""
        return self.visitors / self.days if self.days > 0 else 0.0


def past_statement(scope: PastScope, outcome: Outcome) -> str:
    """Ask for visitors and the sums of one outcome, in one statement without parameters."""
    numbers = ", ".join(f"{text} AS {name}" for name, text in _numbers(outcome, scope.within))
    events = sorted({each.event for each in (outcome.amount, outcome.over) if each is not None})
    y, cut = "y", ""
    if outcome.winsorise is not None:
        y, cut = "least(y, most)", f", (SELECT quantileExact({outcome.winsorise!r})(y) FROM numbers) AS most"
    return (
        f"WITH seen AS (SELECT {VISITOR_KEY} AS who, min(time) AS since FROM requests WHERE {_where(scope)} "
        "GROUP BY who), "
        f"happened AS ({_happened(scope, events, outcome)}), "
        f"numbers AS (SELECT any(since) AS came, {numbers} FROM (SELECT seen.who AS who, since, happened.* EXCEPT who "
        f"FROM seen LEFT JOIN happened ON seen.who = happened.who) GROUP BY who){cut} "
        f"SELECT count() AS visitors, min(came) AS first, sum({y}) AS sum_y, sum({y} * {y}) AS sum_yy, "
        f"sum(x) AS sum_x, sum(x * x) AS sum_xx, sum(x * {y}) AS sum_xy FROM numbers"
    )


def past_of(scope: PastScope, rows: Sequence[Mapping[str, Any]]) -> Past:
    """Read the answer."""
    row = rows[0] if rows else {}
    visitors = int(row.get("visitors") or 0)
    if not visitors:
        return Past()
    figures = {name: float(row.get(f"sum_{name}") or 0.0) for name in ("y", "yy", "x", "xx", "xy")}
    # Of a campaign that has just begun, the time before it says nothing of how many come a day.
    return Past(visitors, max(1 / 24, (scope.end - int(row["first"])) / DAY), Sums(**figures))


def _where(scope: PastScope) -> str:
    found = [
        f"campaign = {quote(scope.campaign)} AND service = {quote(scope.service)}",
        f"time >= {scope.start:d} AND time < {scope.end:d} AND {TAKES_PART} AND {VISITOR_KEY} != 0",
    ]
    if scope.paths:
        found.append(f"({' OR '.join(_path(each) for each in scope.paths)})")
    for column, values in (("device", scope.devices), ("region", scope.regions)):
        if values:
            found.append(f"{column} IN ({', '.join(quote(each) for each in values)})")
    return " AND ".join(found)


def _path(glob: str) -> str:
    return f"startsWith(path, {quote(glob[:-1])})" if glob.endswith("*") else f"path = {quote(glob)}"


def _happened(scope: PastScope, events: Sequence[str], outcome: Outcome) -> str:
    """Select every event that may count, once: an order that is told of twice counts as it was first."""
    names = ", ".join(quote(each) for each in events)
    properties = "".join(
        f", argMin(JSONExtractFloat(properties, {quote(each.name)}), (time, message_id)) AS {_property(each)}"
        for each in dict.fromkeys(each for each in (outcome.amount, outcome.over) if each and each.of == "Property")
    )
    return (
        f"SELECT {VISITOR_KEY} AS who, event AS name, min(time) AS happened_at, "
        f"argMin(revenue, (time, message_id)) AS revenue_of{properties} FROM events "
        f"WHERE campaign = {quote(scope.campaign)} AND time >= {scope.start:d} AND time < {scope.end + scope.within:d} "
        f"AND bot = 0 AND type = 'track' AND {VISITOR_KEY} != 0 AND event IN ({names}) "
        "GROUP BY who, name, if(order_id = '', xxHash64(message_id), cityHash64(order_id))"
    )


def _numbers(outcome: Outcome, within: int) -> Iterator[tuple[str, str]]:
    yield "y", _value(outcome.amount, within)
    yield "x", _value(outcome.over, within) if outcome.over is not None else "0."


def _value(amount: Amount, within: int) -> str:
    # A visitor without an event has an empty name in the join, which no event has.
    counts = f"name = {quote(amount.event)} AND happened_at >= since AND happened_at < since + {within:d}"
    match amount.of:
        case "Any":
            value = f"toFloat64(countIf({counts}) > 0)"
        case "Count":
            value = f"toFloat64(countIf({counts}))"
        case "Revenue":
            value = f"sumIf(revenue_of, {counts})"
        case "Property":
            value = f"sumIf({_property(amount)}, {counts})"
        case "TimeTo":
            value = f"if(countIf({counts}) > 0, minIf(happened_at - since, {counts}), {within:d}) / 1000"
    return value if math.isinf(amount.cap) else f"least({value}, {float(amount.cap)!r})"


def _property(amount: Amount) -> str:
    # Events and properties may be called anything; the column's name is made of their bytes.
    return f"property_{(amount.event + '.' + amount.name).encode().hex()}"
