"""What the visitors of an A/B test did, summed up by arm: the questions to the store, and the answers.

What the words mean:

- An *exposure* is a visitor's first request that the edge sent to an arm of the test and that was answered. The visitor
  belongs to that arm for good; whoever was later served another one is counted as *crossed*, too. Bots, and visitors
  without identity, take no part.
- An *outcome* is a number for each exposed visitor, from events of the visitor within a stretch of time after the
  exposure: whether there was one, how many, or a sum over them. An order counts once. Visitors without an event have 0.
- Beside it stands a second number: the denominator of a ratio, or the same outcome *before* the exposure, which takes
  out of the comparison what the past explains (CUPED).
- Of both, only sums leave the store: as many numbers for a million visitors as for ten.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flywheel.insight.kpi import FAILED, VISITOR_KEY, Parameters, Rows, Statement

MOST_ARMS = 16
MOST_OUTCOMES = 16
QUICK = 0.95
GROWTH = 1.02
"""From bucket to bucket of latencies, in milliseconds."""
SHORTEST = 0.001
"""Milliseconds: what took no time at all counts as this."""
_MOST_BUCKETS = 4_000


@dataclass(frozen=True, slots=True)
class Amount:
    """A number from the events of one name of a visitor."""

    event: str
    of: Literal["Any", "Count", "Revenue", "Property", "TimeTo"] = "Any"
    """1 if there was one; how many; the sum of their revenue; the sum of a property."""
    name: str = ""
    """Of the property."""
    cap: float = math.inf
    """The most that one visitor counts for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is summed up of each visitor."""

    amount: Amount
    over: Amount | None = None
    """The denominator of a ratio."""
    winsorise: float | None = None
    history: int = 0
    """Milliseconds before the exposure in which the same amount is the second number; 0: there is none.

    Raises:
        ValueError: It is a ratio with a history.
    """

    def __post_init__(self) -> None:
        if self.over is not None and self.history:
            raise ValueError("a ratio has its denominator as the second number, and no history beside it")


@dataclass(frozen=True, slots=True)
class ArmScope:
    """What is asked about."""

    campaign: str
    test: str
    start: int
    """Milliseconds since 1970; included."""
    end: int
    """Excluded."""
    within: int
    """Milliseconds after the exposure in which an event counts."""
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over visitors of a number `y`, a second one `x`, and their products."""

    y: float = 0.0
    yy: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What is known of one arm."""

    visitors: int = 0
    crossed: int = 0
    """Visitors of it who were served another arm later on."""
    outcomes: tuple[Sums, ...] = ()
    """In the order in which they were asked for."""
    requests: Sums = Sums()
    """Of each visitor with requests to the arm: errors as `y`, requests as `x`."""
    requesters: int = 0
    """Visitors with requests to the arm, crossed ones of other arms included."""
    quick: Sums = Sums()
    """Of each visitor whom the arm has answered: answers that took no longer than `QUICK` of all of the test as `y`,
    answers as `x`. They tell how much alike the requests of one visitor are."""
    answered: int = 0
    """Visitors whom the arm has answered."""
    latencies: Mapping[int, int] = field(default_factory=dict)
    """Requests by latency: bucket `i` has those from `GROWTH ** i` to `GROWTH ** (i + 1)` milliseconds."""


def exposures_statement(scope: ArmScope) -> Statement:
    """Ask how many visitors belong to each arm."""
    sql = (
        f"WITH exposed AS ({_EXPOSED}) SELECT arm, count() AS visitors, countIf(crossed) AS crossed "
        f"FROM exposed GROUP BY arm ORDER BY visitors DESC, arm LIMIT {MOST_ARMS}"
    )
    return Statement(sql, _parameters(scope))


def outcomes_statement(scope: ArmScope) -> Statement:
    """Ask for the sums of all outcomes by arm: of visitors with an event, as all others have 0.

    Raises:
        ValueError: There is no outcome, or there are too many.
    """
    if not 0 < len(scope.outcomes) <= MOST_OUTCOMES:
        raise ValueError(f"{len(scope.outcomes)} outcomes; 1 to {MOST_OUTCOMES} can be asked for at once")
    parameters = _parameters(scope)
    each_visitor, sums = [], []
    for number, outcome in enumerate(scope.outcomes):
        each_visitor += [f"{text} AS {name}{number}" for name, text in _numbers(outcome, number, parameters)]
        sums += [f"{text.replace('#', str(number))}" for text in _SUMS]
    names = ", ".join(name for name in parameters if name.startswith("event"))
    wanted = ", ".join(f"unhex({{{name}:String}})" for name in names.split(", "))
    history = max(outcome.history for outcome in scope.outcomes)
    happened = (
        # An order that is told of twice counts once, as it was at first.
        f"SELECT {VISITOR_KEY} AS who, event, min(time) AS happened_at, "
        "argMin(revenue, (time, message_id)) AS revenue_of, argMin(properties, (time, message_id)) AS properties_of, "
        "if(order_id = '', xxHash64(message_id), cityHash64(order_id)) AS identity "
        "FROM events WHERE campaign = {campaign:String} AND time >= {start:Int64} - {history:Int64} "
        f"AND time < {{end:Int64}} AND bot = 0 AND type = 'track' AND {VISITOR_KEY} != 0 AND event IN ({wanted}) "
        "GROUP BY who, event, identity"
    )
    sql = (
        f"WITH exposed AS ({_EXPOSED}) SELECT arm, {', '.join(sums)} FROM ("
        f"SELECT any(exposed.arm) AS arm, {', '.join(each_visitor)} "
        f"FROM ({happened}) AS happened INNER JOIN exposed ON happened.who = exposed.who GROUP BY happened.who"
        f") GROUP BY arm LIMIT {MOST_ARMS}"
    )
    return Statement(sql, parameters | {"within": scope.within, "history": history})


def requests_statement(scope: ArmScope) -> Statement:
    """Ask for requests of each visitor by arm: how many failed, and how many were as fast as all but a few are."""
    sql = (
        f"WITH (SELECT quantileExact({QUICK})(duration_ms) FROM requests WHERE {_SERVED} AND server_ms >= 0) AS limit, "
        f"{FAILED} "
        "SELECT arm, count() AS requesters, "
        "sum(errors) AS y_errors, sum(errors * errors) AS yy_errors, sum(asked) AS x_errors, "
        "sum(asked * asked) AS xx_errors, sum(errors * asked) AS xy_errors, "
        "countIf(answered > 0) AS answered_requesters, "
        "sum(quick) AS y_quick, sum(quick * quick) AS yy_quick, sum(answered) AS x_quick, "
        "sum(answered * answered) AS xx_quick, sum(quick * answered) AS xy_quick FROM ("
        f"SELECT variant AS arm, {VISITOR_KEY} AS who, toFloat64(countIf(failed)) AS errors, "
        "toFloat64(count()) AS asked, toFloat64(countIf(NOT unanswered)) AS answered, "
        "toFloat64(countIf(NOT unanswered AND duration_ms <= limit)) AS quick "
        f"FROM requests WHERE {_SERVED} GROUP BY arm, who) GROUP BY arm LIMIT {MOST_ARMS}"
    )
    return Statement(sql, _parameters(scope))


def latencies_statement(scope: ArmScope) -> Statement:
    """Ask how long requests took, by arm and bucket."""
    sql = (
        f"SELECT variant AS arm, toInt32(floor(log(greatest(toFloat64(duration_ms), {SHORTEST})) / log({GROWTH}))) "
        f"AS bucket, count() AS requests FROM requests WHERE {_SERVED} AND server_ms >= 0 GROUP BY arm, bucket "
        f"ORDER BY arm, bucket LIMIT {_MOST_BUCKETS}"
    )
    return Statement(sql, _parameters(scope))


def shape(
    scope: ArmScope, exposures: Rows, outcomes: Rows = (), requests: Rows = (), latencies: Rows = ()
) -> dict[str, ArmFigures]:
    """Put the answers together, by arm."""
    sums = {str(row["arm"]): row for row in outcomes}
    asked = {str(row["arm"]): row for row in requests}
    took: dict[str, dict[int, int]] = {}
    for row in latencies:
        took.setdefault(str(row["arm"]), {})[int(row["bucket"])] = int(row["requests"])
    return {
        arm: ArmFigures(
            visitors=int(row["visitors"]),
            crossed=int(row["crossed"]),
            outcomes=tuple(_sums(sums.get(arm, {}), str(number)) for number in range(len(scope.outcomes))),
            requests=_sums(asked.get(arm, {}), "errors"),
            requesters=int(asked[arm]["requesters"]) if arm in asked else 0,
            quick=_sums(asked.get(arm, {}), "quick"),
            answered=int(asked[arm]["answered_requesters"]) if arm in asked else 0,
            latencies=took.get(arm, {}),
        )
        for arm, row in ((str(row["arm"]), row) for row in exposures)
    }


_SERVED = (
    "campaign = {campaign:String} AND test = unhex({test:String}) AND time >= {start:Int64} AND time < {end:Int64} "
    f"AND refused = '' AND NOT startsWith(termination, 'L') AND NOT bot AND {VISITOR_KEY} != 0"
)
_EXPOSED = (
    # Two requests in one millisecond: the arm that comes first in the alphabet, so that it is always the same.
    f"SELECT {VISITOR_KEY} AS who, min(time) AS since, argMin(variant, (time, variant)) AS arm, "
    f"min(variant) != max(variant) AS crossed FROM requests WHERE {_SERVED} GROUP BY who"
)
_SUMS = (
    "sum(y#) AS y_#",
    "sum(y# * y#) AS yy_#",
    "sum(x#) AS x_#",
    "sum(x# * x#) AS xx_#",
    "sum(x# * y#) AS xy_#",
)
_AFTER = "happened_at >= since AND happened_at < since + {within:Int64}"


def _numbers(outcome: Outcome, number: int, parameters: Parameters) -> Iterator[tuple[str, str]]:
    yield "y", _value(outcome.amount, _AFTER, f"y{number}", parameters)
    if outcome.over is not None:
        yield "x", _value(outcome.over, _AFTER, f"x{number}", parameters)
    elif outcome.history:
        before = f"happened_at < since AND happened_at >= since - {outcome.history:d}"
        yield "x", _value(outcome.amount, before, f"x{number}", parameters)
    else:
        yield "x", "0."


def _value(amount: Amount, when: str, name: str, parameters: Parameters) -> str:
    parameters[f"event_{name}"] = amount.event.encode().hex()
    counts = f"event = unhex({{event_{name}:String}}) AND {when}"
    match amount.of:
        case "Any":
            return f"toFloat64(countIf({counts}) > 0)"
        case "Count":
            value = f"toFloat64(countIf({counts}))"
        case "Revenue":
            value = f"sumIf(revenue_of, {counts})"
        case "Property":
            parameters[f"property_{name}"] = amount.name.encode().hex()
            value = f"sumIf(JSONExtractFloat(properties_of, unhex({{property_{name}:String}})), {counts})"
    return value if math.isinf(amount.cap) else f"least({value}, {float(amount.cap)!r})"


def _parameters(scope: ArmScope) -> Parameters:
    return {
        "campaign": scope.campaign,
        "test": scope.test.encode().hex(),
        "start": scope.start,
        "end": scope.end,
    }


def _sums(row: Mapping[str, Any], suffix: str) -> Sums:
    return Sums(*(float(row.get(f"{name}_{suffix}", 0.0)) for name in ("y", "yy", "x", "xx", "xy")))
