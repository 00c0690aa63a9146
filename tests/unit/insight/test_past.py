"""What visitors did before a test, on the real engine, against plain Python from the definitions."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.insight.arm_oracle import CLAIMED, ODD, ORDERED
from tests.unit.insight.conftest import Bench
from tests.unit.insight.stream import HOUR, LATER, NOW, Stream

from flywheel.events.rows import EventRow, RequestRow
from flywheel.events.statement_guard import check
from flywheel.insight.arms import Amount, Outcome, Sums
from flywheel.insight.past import DAY, Past, PastScope, past_of, past_statement

WITHIN = HOUR
ODD_PROPERTY = 'a "b" \\ 券\''
OUTCOMES = (
    Outcome(Amount(CLAIMED)),
    Outcome(Amount(ORDERED, "Revenue")),
    Outcome(Amount(ORDERED, "Revenue"), over=Amount(ORDERED, "Count")),
    Outcome(Amount(ODD, "Property", ODD_PROPERTY)),
    Outcome(Amount(CLAIMED, "Count", cap=2.0)),
    Outcome(Amount(ORDERED, "TimeTo")),
    Outcome(Amount(ORDERED, "Revenue"), winsorise=0.8),
)


def a_stream(seed: int, size: int = 400) -> Stream:
    rng = random.Random(seed)
    stream = Stream()
    for number in range(size):
        who = {"visitor": rng.choice([*(f"v{each}" for each in range(30)), ""]), "bot": rng.random() < 0.1}
        at = NOW - rng.choice((rng.randrange(3 * HOUR), 0, 2 * HOUR, 2 * HOUR + 1))
        stream.requests.append(
            RequestRow(
                request_id=f"r{number}",
                time=at,
                ingest_time=NOW,
                service=rng.choice(("landing", "landing", "pay")),
                path=rng.choice(("/coupon/a", "/coupon", "/")),
                device=rng.choice(("Phone", "Desktop")),
                region=rng.choice(("SH", "it's")),
                status=200,
                duration_ms=1.0,
                server_ms=1.0,
                termination=rng.choice(("--", "LR")),
                refused=rng.choice(("", "", "rate")),
                expires_at=LATER,
                **who,
            )
        )
        moment = at + rng.choice((-1, 0, 1, WITHIN - 1, WITHIN, rng.randrange(WITHIN)))
        stream.events.append(
            EventRow(
                message_id=f"m{number}",
                type=rng.choice(("track", "track", "page")),
                event=rng.choice((CLAIMED, ORDERED, ODD, "Other")),
                time=moment,
                original_time=moment,
                ingest_time=NOW,
                order_id=rng.choice(("", f"o{rng.randrange(20)}")),
                revenue=float(rng.randrange(9_000)) / 100,
                properties=json.dumps(rng.choice(({ODD_PROPERTY: rng.randrange(9)}, {}))),
                expires_at=LATER,
                **who,
            )
        )
    return stream


def enters(path: str, glob: str) -> bool:
    return path.startswith(glob[:-1]) if glob.endswith("*") else path == glob


def takes_part(row: RequestRow, scope: PastScope) -> bool:
    return (
        row.service == scope.service
        and scope.start <= row.time < scope.end
        and not row.refused
        and not row.termination.startswith("L")
        and not row.bot
        and bool(row.visitor)
        and (not scope.paths or any(enters(row.path, each) for each in scope.paths))
        and (not scope.devices or row.device in scope.devices)
        and (not scope.regions or row.region in scope.regions)
    )


def amounts(since: int, own: list[EventRow], amount: Amount) -> float:
    first = min((each.time - since for each in own), default=WITHIN)
    found = {
        "Any": float(bool(own)),
        "Count": float(len(own)),
        "Revenue": sum(each.revenue for each in own),
        "Property": float(sum(json.loads(each.properties).get(amount.name, 0) for each in own)),
        "TimeTo": first / 1000,
    }
    return min(amount.cap, found[amount.of])


def in_python(stream: Stream, scope: PastScope, outcome: Outcome) -> Past:
    since: dict[str, int] = {}
    for row in stream.requests:
        if takes_part(row, scope):
            since[row.visitor] = min(row.time, since.get(row.visitor, row.time))
    once: dict[tuple[str, str, str], EventRow] = {}
    for row in sorted(stream.events, key=lambda each: (each.time, each.message_id)):
        if row.type == "track" and not row.bot and scope.start <= row.time < scope.end + scope.within:
            once.setdefault((row.visitor, row.event, row.order_id or f"message {row.message_id}"), row)

    def value(who: str, amount: Amount) -> float:
        own = [each for (visitor, event, _), each in once.items() if visitor == who and event == amount.event]
        return amounts(since[who], [each for each in own if 0 <= each.time - since[who] < scope.within], amount)

    ys = {who: value(who, outcome.amount) for who in since}
    if outcome.winsorise is not None:
        ordered = sorted(ys.values())
        most = ordered[min(len(ordered) - 1, int(outcome.winsorise * len(ordered)))]
        ys = {who: min(most, y) for who, y in ys.items()}
    xs = {who: value(who, outcome.over) if outcome.over else 0.0 for who in since}
    products = [(y, y * y, xs[who], xs[who] ** 2, xs[who] * y) for who, y in ys.items()]
    days = (scope.end - min(since.values())) / DAY if since else 0.0
    return Past(len(since), max(1 / 24, days), Sums(*map(sum, zip(*products, strict=True))))


def ask(bench: Bench, scope: PastScope, outcome: Outcome) -> Past:
    # As people's own questions go: checked, and without parameters.
    statement = check(past_statement(scope, outcome))
    return past_of(scope, bench.run(bench.store.query(statement)))


def close(past: Past) -> tuple[Any, ...]:
    sums = past.sums
    return past.visitors, round(past.days, 9), *(round(x, 4) for x in (sums.y, sums.yy, sums.x, sums.xx, sums.xy))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=range(len(OUTCOMES)))
@pytest.mark.parametrize("seed", range(2))
def test_the_past_is_what_the_definitions_say(bench: Bench, seed: int, outcome: Outcome) -> None:
    stream = a_stream(seed)
    scope = PastScope(bench.keep(stream), "landing", NOW - 2 * HOUR, NOW, WITHIN)
    found = ask(bench, scope, outcome)
    assert close(found) == close(in_python(stream, scope, outcome))
    assert found.visitors > 20
    assert found.sums.y > 0


def test_whom_the_test_is_for_is_looked_up(bench: Bench) -> None:
    stream = a_stream(7)
    scope = PastScope(bench.keep(stream), "landing", NOW - 3 * HOUR, NOW, WITHIN)
    counted = {ask(bench, scope, OUTCOMES[0]).visitors}
    paths = ({"paths": ("/coupon*",)}, {"paths": ("/", "/coupon")})
    for targeted in (*paths, {"devices": ("Phone",)}, {"regions": ("it's",)}):
        narrow = replace(scope, **targeted)
        found = ask(bench, narrow, OUTCOMES[0])
        assert close(found) == close(in_python(stream, narrow, OUTCOMES[0]))
        counted.add(found.visitors)
    assert len(counted) > 1


def test_where_nobody_came_there_is_no_past(bench: Bench) -> None:
    scope = PastScope("nobody's", "it's \\ odd", NOW - HOUR, NOW, WITHIN)
    assert ask(bench, scope, OUTCOMES[0]) == Past()
    assert Past().per_day == 0


def test_visitors_a_day_are_those_of_the_time_that_is_known() -> None:
    scope = PastScope("c", "s", 0, 10 * DAY, WITHIN)
    row = {"visitors": "900", "first": str(7 * DAY), "sum_y": 45.0}
    found = past_of(scope, [row])
    assert (found.days, found.per_day, found.sums.y) == (3.0, 300.0, 45.0)
    assert past_of(scope, []) == Past()


def test_columns_of_odd_properties_are_plain_names() -> None:
    statement = past_statement(PastScope("c", "s", 0, 1, 1), OUTCOMES[3])
    assert "property_" + f"{ODD}.{ODD_PROPERTY}".encode().hex() in statement
