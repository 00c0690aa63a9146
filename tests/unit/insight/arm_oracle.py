"""Sums of the arms of a test in plain Python, from the definitions alone, and a stream to try them on."""

import json
import math
import random
from collections import Counter
from typing import Any

import xxhash
from tests.unit.insight.stream import HOUR, LATER, NOW, Stream

from flywheel.events.rows import EventRow, RequestRow
from flywheel.insight.arms import GROWTH, QUICK, Amount, ArmFigures, ArmScope, Outcome, Sums

TEST = "button"
CLAIMED, ORDERED, ODD = "Coupon Claimed", "Order Completed", 'it\'s "odd" \\ 券'
WITHIN = HOUR // 2
OUTCOMES = (
    Outcome(Amount(CLAIMED)),
    Outcome(Amount(ORDERED, "Revenue", cap=90.0), history=HOUR // 3),
    Outcome(Amount(ORDERED, "Revenue"), over=Amount(ORDERED, "Count")),
    Outcome(Amount(ODD, "Property", 'a "b" 券')),
    Outcome(Amount(CLAIMED, "Count", cap=2.0), history=HOUR),
    Outcome(Amount(ORDERED, "TimeTo"), history=HOUR // 4),
    Outcome(Amount(CLAIMED, "TimeTo", cap=600.0), winsorise=0.6),
    Outcome(Amount(ORDERED, "Revenue"), history=HOUR, winsorise=0.9),
    Outcome(Amount(ODD, "Property", 'a "b" 券'), winsorise=0.75),
)


def a_stream(seed: int, size: int = 500) -> Stream:
    """Requests to arms of two tests and to none, and events whose moments often coincide with the edges of windows."""
    rng = random.Random(seed)
    moments = [NOW - HOUR + rng.randrange(0, 2 * HOUR) for _ in range(size // 4)] + [NOW - HOUR, NOW - 1, NOW]
    stream = Stream()
    visitors = (*(f"v{each}" for each in range(40)), "")
    for number in range(size):
        who = {"visitor": rng.choice(visitors), "bot": rng.random() < 0.1}
        own = Counter(who["visitor"].encode()).total() % 3 > 0
        moment = rng.choice(moments)
        stream.requests.append(
            RequestRow(
                request_id=f"r{number}",
                time=moment,
                ingest_time=NOW,
                test=rng.choice((TEST, TEST, "other", "")),
                # Most visitors keep their arm; some are served another one.
                variant=rng.choice(("red", "green")) if rng.random() < 0.1 else ("red" if own else "green"),
                status=rng.choice((200, 200, 302, 404, 500, 503)),
                duration_ms=rng.choice((0.0, 0.5, 3.0, float(rng.randrange(1, 4000)) / 2)),
                server_ms=rng.choice((3.0, 8.0, -1.0)),
                termination=rng.choice(("--", "--", "CD", "LR", "SC")),
                refused=rng.choice(("", "", "", "rate")),
                expires_at=LATER,
                **who,
            )
        )
        moments.append(moment + rng.choice((-1, 0, 0, 1, WITHIN - 1, WITHIN, -(HOUR // 3), -(HOUR // 3) - 1)))
        at = rng.choice(moments)
        stream.events.append(
            EventRow(
                message_id=f"m{number}",
                type=rng.choice(("track", "track", "track", "page")),
                event=rng.choice((CLAIMED, ORDERED, ODD, "Other")),
                time=at,
                original_time=at,
                ingest_time=NOW,
                order_id=rng.choice(("", "", f"o{rng.randrange(12)}")),
                revenue=float(rng.randrange(0, 20_000)) / 100,
                properties=json.dumps(rng.choice(({'a "b" 券': rng.randrange(9)}, {'a "b" 券': "x"}, {}))),
                expires_at=LATER,
                **who,
            )
        )
    return stream


def scope_of(campaign: str, **fields: Any) -> ArmScope:
    return ArmScope(
        campaign, **{"test": TEST, "start": NOW - HOUR, "end": NOW, "within": WITHIN, "outcomes": OUTCOMES, **fields}
    )


def in_python(stream: Stream, scope: ArmScope) -> dict[str, ArmFigures]:
    served, of_visitor, first = exposed(stream, scope)
    durations = sorted(row.duration_ms for row in served if row.server_ms >= 0)
    # The engine takes the rank that lies below, from 0.
    limit = durations[min(len(durations) - 1, int(QUICK * len(durations)))] if durations else 0.0
    pairs = [cut(pairs_of(stream, scope, each, first), each) for each in scope.outcomes]
    figures = {}
    for arm in {arm for _, arm in first.values()}:
        members = {who: since for who, (since, name) in first.items() if name == arm}
        own = [row for row in served if row.variant == arm]
        by_visitor = Counter(row.visitor for row in own)
        answered = Counter(row.visitor for row in own if row.server_ms >= 0)
        quick = Counter(row.visitor for row in own if row.server_ms >= 0 and row.duration_ms <= limit)
        errors = Counter(
            row.visitor for row in own if row.status >= 500 or (row.server_ms < 0 and row.termination[0] != "C")
        )
        figures[arm] = ArmFigures(
            visitors=len(members),
            crossed=sum(len({row.variant for row in of_visitor[who]}) > 1 for who in members),
            outcomes=tuple(summed([each[who] for who in members]) for each in pairs),
            requests=summed([(float(errors[who]), float(count)) for who, count in by_visitor.items()]),
            requesters=len(by_visitor),
            quick=summed([(float(quick[who]), float(count)) for who, count in answered.items()]),
            answered=len(answered),
            latencies=Counter(
                math.floor(math.log(max(row.duration_ms, 0.001)) / math.log(GROWTH))
                for row in own
                if row.server_ms >= 0
            ),
        )
    return figures


def exposed(
    stream: Stream, scope: ArmScope
) -> tuple[list[RequestRow], dict[str, list[RequestRow]], dict[str, tuple[int, str]]]:
    """Give the requests that count, those of each visitor, and the first moment and arm of each."""
    served = [
        row
        for row in stream.requests
        if scope.start <= row.time < scope.end
        and row.test == scope.test
        and not row.refused
        and not row.termination.startswith("L")
        and row.visitor
        and not row.bot
    ]
    of_visitor: dict[str, list[RequestRow]] = {}
    for row in served:
        of_visitor.setdefault(row.visitor, []).append(row)
    return served, of_visitor, {who: min((row.time, row.variant) for row in rows) for who, rows in of_visitor.items()}


def pairs_of(
    stream: Stream, scope: ArmScope, outcome: Outcome, first: dict[str, tuple[int, str]]
) -> dict[str, tuple[float, float]]:
    """Give both numbers of each visitor, not cut yet."""
    return {who: pair(stream, scope, outcome, who, since) for who, (since, _) in first.items()}


def cut(pairs: dict[str, tuple[float, float]], outcome: Outcome) -> dict[str, tuple[float, float]]:
    """Cut what lies above the percentile of all visitors of all arms."""
    if outcome.winsorise is None or not pairs:
        return pairs
    place = math.ceil(len(pairs) * outcome.winsorise) - 1
    most_y, most_x = (sorted(each[side] for each in pairs.values())[place] for side in (0, 1))
    return {who: (min(y, most_y), min(x, most_x)) for who, (y, x) in pairs.items()}


def pair(stream: Stream, scope: ArmScope, outcome: Outcome, who: str, since: int) -> tuple[float, float]:
    after = (since, since + scope.within)
    y = amount(stream, scope, outcome.amount, who, after)
    if outcome.over is not None:
        return y, amount(stream, scope, outcome.over, who, after)
    return y, amount(stream, scope, outcome.amount, who, (since - outcome.history, since)) if outcome.history else 0.0


def amount(stream: Stream, scope: ArmScope, wanted: Amount, who: str, when: tuple[int, int]) -> float:
    longest = max(each.history for each in scope.outcomes)
    told = [
        row
        for row in stream.events
        if row.visitor == who
        and not row.bot
        and row.type == "track"
        and row.event == wanted.event
        and scope.start - longest <= row.time < scope.end
    ]
    told.sort(key=lambda row: (row.time, xxhash.xxh64_intdigest(row.message_id.encode()) >> 42))
    once: dict[str, EventRow] = {}
    for row in told:
        once.setdefault(f"o{row.order_id}" if row.order_id else f"m{row.message_id}", row)
    counted = [row for row in once.values() if when[0] <= row.time < when[1]]
    match wanted.of:
        case "Any":
            return float(bool(counted))
        case "Count":
            value = float(len(counted))
        case "TimeTo":
            value = min([row.time - when[0] for row in counted] or [when[1] - when[0]]) / 1000
        case "Revenue":
            value = sum(row.revenue for row in counted)
        case "Property":
            found = [json.loads(row.properties).get(wanted.name, 0) for row in counted]
            value = float(sum(each for each in found if not isinstance(each, str)))
    return min(value, wanted.cap)


def summed(pairs: list[tuple[float, float]]) -> Sums:
    return Sums(
        math.fsum(y for y, _ in pairs),
        math.fsum(y * y for y, _ in pairs),
        math.fsum(x for _, x in pairs),
        math.fsum(x * x for _, x in pairs),
        math.fsum(x * y for y, x in pairs),
    )
