"""What the visitors of an A/B test did, summed up by arm: what can be asked of the store, and the answers.

What the words mean:

- An *exposure* is a visitor's first request that the edge sent to an arm of the test and that was not refused. The
  visitor belongs to that arm for good; whoever was later served another one is counted as *crossed*, too. Bots, and
  visitors without identity, take no part.
- An *outcome* is a number for each exposed visitor, from events of the visitor within a stretch of time after the
  exposure: whether there was one, how many, a sum over them, or the time to the first. An order counts once. Visitors
  without an event have 0, or as the time to it the whole stretch.
- Beside it stands a second number: the denominator of a ratio, or the same outcome *before* the exposure, which takes
  out of the comparison what the past explains (CUPED).
- Of both, only sums leave the store: as many numbers for a million visitors as for ten.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flywheel.insight.exposures import SERVED
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
    """1 if there was one; how many; the sum of their revenue; the sum of a property; seconds to the first one from the
    beginning of the stretch in which events count, and all of the stretch where there is none."""
    name: str = ""
    """Of the property."""
    cap: float = math.inf
    """The most that one visitor counts for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is summed up of each visitor.

    Raises:
        ValueError: It is a ratio with a history or with cut values, or one of times; or a percentile that is none.
    """

    amount: Amount
    over: Amount | None = None
    """The denominator of a ratio."""
    history: int = 0
    """Milliseconds before the exposure in which the same amount is the second number; 0: there is none."""
    winsorise: float | None = None
    """Values above this percentile (0 to 1, nearest rank) of all exposed visitors of all arms count as it."""

    def __post_init__(self) -> None:
        if self.over is not None and (self.history or self.winsorise is not None):
            raise ValueError("a ratio has its denominator as the second number, no history beside it, and is not cut")
        if self.over is not None and "TimeTo" in (self.amount.of, self.over.of):
            raise ValueError("a ratio is one of counts and sums, not of times")
        if self.winsorise is not None and not 0 < self.winsorise < 1:
            raise ValueError("a percentile lies between 0 and 1")


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


def requests_statement(scope: ArmScope) -> Statement:
    """Ask for requests of each visitor by arm: how many failed, and how many were as fast as all but a few are."""
    sql = (
        f"WITH (SELECT quantileExact({QUICK})(duration_ms) FROM requests WHERE {SERVED} AND server_ms >= 0) AS limit, "
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
        f"FROM requests WHERE {SERVED} GROUP BY arm, who) GROUP BY arm LIMIT {MOST_ARMS}"
    )
    return Statement(sql, parameters_of(scope))


def latencies_statement(scope: ArmScope) -> Statement:
    """Ask how long requests took, by arm and bucket."""
    sql = (
        f"SELECT variant AS arm, toInt32(floor(log(greatest(toFloat64(duration_ms), {SHORTEST})) / log({GROWTH}))) "
        f"AS bucket, count() AS requests FROM requests WHERE {SERVED} AND server_ms >= 0 GROUP BY arm, bucket "
        f"ORDER BY arm, bucket LIMIT {_MOST_BUCKETS}"
    )
    return Statement(sql, parameters_of(scope))


def shape(scope: ArmScope, sums: Rows, requests: Rows = (), latencies: Rows = ()) -> dict[str, ArmFigures]:
    """Put the answers together, by arm."""
    asked = {str(row["arm"]): row for row in requests}
    took: dict[str, dict[int, int]] = {}
    for row in latencies:
        took.setdefault(str(row["arm"]), {})[int(row["bucket"])] = int(row["requests"])
    return {
        arm: ArmFigures(
            visitors=int(row["visitors"]),
            crossed=int(row["crossed"]),
            outcomes=tuple(sums_in(row, str(number)) for number in range(len(scope.outcomes))),
            requests=sums_in(asked.get(arm, {}), "errors"),
            requesters=int(asked[arm]["requesters"]) if arm in asked else 0,
            quick=sums_in(asked.get(arm, {}), "quick"),
            answered=int(asked[arm]["answered_requesters"]) if arm in asked else 0,
            latencies=took.get(arm, {}),
        )
        for arm, row in ((str(row["arm"]), row) for row in sums)
    }


def parameters_of(scope: ArmScope) -> Parameters:
    """Give the parameters that all questions of a scope have."""
    return {
        "campaign": scope.campaign,
        "test": scope.test.encode().hex(),
        "start": scope.start,
        "end": scope.end,
    }


def sums_in(row: Mapping[str, Any], suffix: str) -> Sums:
    """Read the sums of one outcome from a row."""
    return Sums(*(float(row.get(f"{name}_{suffix}") or 0.0) for name in ("y", "yy", "x", "xx", "xy")))
