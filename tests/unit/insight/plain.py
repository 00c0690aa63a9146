"""The key figures once more, in plain Python over rows: slow, short, and written from the definitions alone."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import xxhash
from tests.unit.insight.stream import Stream

from flywheel.events.rows import EventRow, RequestRow
from flywheel.insight.kpi import OTHERS, Figures, Scope, WindowFigures

Record = EventRow | RequestRow


def measure(stream: Stream, scope: Scope, window: str, most_values: int = 60) -> WindowFigures:
    """Measure one window of the rows that the store keeps."""
    events = [row for row in stream.events if scope.start <= row.time < scope.end]
    requests = [row for row in stream.requests if scope.start <= row.time < scope.end]
    people = [row for row in events if not row.bot], [row for row in requests if not row.bot]
    told = _ranked([*people[0], *people[1]], scope.by)[:most_values] if scope.by else []

    def value(row: Record) -> str:
        found = str(getattr(row, scope.by or ""))
        return found if found in told else OTHERS

    parts = {}
    for each in [*told, OTHERS] if scope.by else []:
        figures = _figures(*people, scope, lambda row, each=each: value(row) == each, value)
        if figures != Figures():
            parts[each] = figures
    return WindowFigures(
        window=window,
        start=scope.start,
        end=scope.end,
        total=_figures(*people, scope, lambda _: True, lambda _: ""),
        by=scope.by,
        parts=parts,
        bot_events=len(events) - len(people[0]),
        bot_requests=len(requests) - len(people[1]),
    )


def _ranked(rows: Iterable[Record], by: str) -> list[str]:
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[getattr(row, by)] += 1
    return sorted(counts, key=lambda value: (-counts[value], value.encode()))


def _figures(
    events: Sequence[EventRow],
    requests: Sequence[RequestRow],
    scope: Scope,
    carries: Callable[[Record], bool],
    value: Callable[[Record], str],
) -> Figures:
    records: list[Record] = [row for row in [*events, *[r for r in requests if r.page]] if row.visitor]
    orders = [row for row in _orders(events, scope.order_event) if carries(row)]
    priced = [row for row in orders if not row.revenue_unknown]
    served = [row for row in requests if carries(row) and _served(row)]
    answered = sorted(row.duration_ms for row in served if row.server_ms >= 0)
    if scope.page_views == "Edge":
        pages = sum(row.page for row in requests if carries(row))
    else:
        pages = sum(row.type == "page" and row.source != "edge" for row in events if carries(row))
    return Figures(
        page_views=pages,
        visitors=len({row.visitor for row in records if carries(row)}),
        sessions=sum(carries(first) for first in _sessions(records, scope.session_timeout * 1000, value)),
        orders=len(orders),
        unpriced_orders=len(orders) - len(priced),
        buyers=len({row.visitor for row in orders if row.visitor}),
        revenue=round(math.fsum(row.revenue for row in priced), 4),
        requests=len(served),
        errors=sum(map(_failed, served)),
        **{f"latency_p{share}": _percentile(answered, share) for share in (50, 95, 99)},
    )


def _orders(events: Sequence[EventRow], name: str) -> Iterable[EventRow]:
    orders: dict[Any, list[EventRow]] = defaultdict(list)
    for row in events:
        if row.type == "track" and row.event == name:
            orders[("order", row.order_id) if row.order_id else ("message", row.message_id)].append(row)
    for each in orders.values():
        yield min(
            each, key=lambda row: (row.revenue_unknown, row.time, xxhash.xxh64_intdigest(row.message_id.encode()))
        )


def _sessions(records: Sequence[Record], timeout: int, value: Callable[[Record], str]) -> Iterable[Record]:
    """Give the record with which each session begins."""
    last: dict[str, int] = {}
    for row in sorted(records, key=lambda row: (row.time, value(row) != OTHERS, value(row).encode())):
        if row.visitor not in last or row.time - last[row.visitor] > timeout:
            yield row
        last[row.visitor] = row.time


def _served(row: RequestRow) -> bool:
    return not row.refused and row.service != "" and not row.termination.startswith("L")


def _failed(row: RequestRow) -> bool:
    return row.status >= 500 or (row.server_ms < 0 and not row.termination.startswith("C"))


def _percentile(ordered: Sequence[float], share: int) -> float | None:
    """The nearest rank."""
    return round(ordered[-(-share * len(ordered) // 100) - 1] / 1000, 6) if ordered else None
