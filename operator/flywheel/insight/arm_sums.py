"""The sums over the visitors of each arm: of all of a test, or of those who came on a day or in a batch.

One statement reads the exposures, the events of the outcomes, and puts them together by visitor. Every exposed visitor
is a row of it, so that visitors without events need no care of their own.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flywheel.insight.arms import (
    MOST_ARMS,
    MOST_OUTCOMES,
    Amount,
    ArmScope,
    Outcome,
    Sums,
    parameters_of,
    sums_in,
)
from flywheel.insight.exposures import ARM, OF_TEST, RANK, SINCE, WITH_EXPOSED
from flywheel.insight.kpi import VISITOR_KEY, Parameters, Rows, Statement

Cuts = Mapping[str, float]
"""The most that a number of one visitor counts for, such as `y0` and `x0` of the first outcome."""
MOST_PARTS = 500
"""Days or batches."""
DAY_OF_EXPOSURE = f"toString(toDate(fromUnixTimestamp64Milli({SINCE} + {{offset:Int64}}, 'UTC')))"
BATCH_OF_EXPOSURE = f"toString(roundDown({SINCE}, {{batches:Array(Int64)}}))"
_SUMS = (
    "sum(y#) AS y_#",
    "sum(y# * y#) AS yy_#",
    "sum(x#) AS x_#",
    "sum(x# * x#) AS xx_#",
    "sum(x# * y#) AS xy_#",
)
_PLACE = "toUInt64(time) * 4194304 + bitShiftRight(xxHash64(message_id), 42)"
"""Moment and message in one number: an order that is told of twice counts as it was first; of several in one
millisecond, always the same."""


def sums_statement(
    scope: ArmScope, cuts: Cuts | None = None, part: str = "", more: Parameters | None = None
) -> Statement:
    """Ask for visitors and the sums of all outcomes by arm.

    Args:
        scope: What is asked about.
        cuts: What `cuts_statement` has found, where an outcome is cut.
        part: SQL of what the visitors are told apart by beside their arm, such as `DAY_OF_EXPOSURE`.
        more: Parameters of that.

    Raises:
        ValueError: There is no outcome, or there are too many.
    """
    wanted = Wanted(scope, cuts or {})
    sums = ", ".join(text.replace("#", str(number)) for number in range(len(scope.outcomes)) for text in _SUMS)
    parts, most = (f"{part} AS part, ", MOST_ARMS * MOST_PARTS) if part else ("", MOST_ARMS)
    sql = (
        f"WITH {WITH_EXPOSED} SELECT {parts}{ARM} AS arm, count() AS visitors, countIf(crossed) AS crossed, {sums} "
        f"FROM ({wanted.visitors()}) GROUP BY {'part, ' if part else ''}{RANK} "
        f"ORDER BY {'part, ' if part else ''}visitors DESC, arm LIMIT {most}"
    )
    return Statement(sql, wanted.parameters | (more or {}))


def by_day(scope: ArmScope, offset: int, cuts: Cuts) -> Statement:
    """Ask for the sums of the first outcome by the day of the exposure, `offset` milliseconds east of Greenwich."""
    return sums_statement(primary(scope), cuts, DAY_OF_EXPOSURE, {"offset": offset})


def by_batch(scope: ArmScope, batches: Sequence[int], cuts: Cuts) -> Statement:
    """Ask for the sums of the first outcome by the batch of the exposure.

    Args:
        scope: What is asked about.
        batches: Where each batch begins, ascending; the last one has no end but the scope's.
        cuts: As of `sums_statement`.
    """
    return sums_statement(primary(scope), cuts, BATCH_OF_EXPOSURE, {"batches": [0, *batches]})


@dataclass(frozen=True, slots=True)
class PartFigures:
    """The visitors of one arm who came on a day, in a batch or up to a moment, and the sums of the first outcome."""

    visitors: int
    sums: Sums


def shape_parts(rows: Rows) -> dict[str, dict[str, PartFigures]]:
    """Put the answer of `by_day` or `by_batch` together, by part and arm."""
    found: dict[str, dict[str, PartFigures]] = {}
    for row in rows:
        figures = PartFigures(int(row["visitors"]), sums_in(row, "0"))
        found.setdefault(str(row["part"]), {})[str(row["arm"])] = figures
    return found


def cuts_statement(scope: ArmScope) -> Statement | None:
    """Ask where outcomes are cut; None where none is."""
    cut = [(number, outcome) for number, outcome in enumerate(scope.outcomes) if outcome.winsorise is not None]
    if not cut:
        return None
    wanted = Wanted(scope, {})
    found = [
        f"quantileExactWeighted({outcome.winsorise!r})({name}{number}, 1) AS {name}{number}_limit"
        for number, outcome in cut
        for name in ("y", "x")
        if name == "y" or outcome.history
    ]
    return Statement(f"WITH {WITH_EXPOSED} SELECT {', '.join(found)} FROM ({wanted.visitors()})", wanted.parameters)


def cuts_of(rows: Rows) -> Cuts:
    """Read the answer; where nobody was exposed nothing is cut."""
    found = {name.removesuffix("_limit"): value for row in rows for name, value in row.items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def primary(scope: ArmScope) -> ArmScope:
    """Give the same scope with its first outcome only."""
    return replace(scope, outcomes=scope.outcomes[:1])


@dataclass(slots=True)
class Wanted:
    """The outcomes of a question in SQL, and the parameters that they bring.

    Raises:
        ValueError: There is no outcome, or there are too many.
    """

    scope: ArmScope
    cuts: Cuts
    parameters: Parameters = field(init=False)
    _events: list[str] = field(default_factory=list)
    _properties: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        outcomes = self.scope.outcomes
        if not 0 < len(outcomes) <= MOST_OUTCOMES:
            raise ValueError(f"{len(outcomes)} outcomes; 1 to {MOST_OUTCOMES} can be asked for at once")
        self.parameters = parameters_of(self.scope)
        self.parameters["within"] = self.scope.within
        self.parameters["history"] = max(outcome.history for outcome in outcomes)

    def visitors(self) -> str:
        """Select each exposed visitor with their numbers: `least`, `crossed`, and `y` and `x` of each outcome."""
        numbers = [
            f"{text} AS {name}{number}"
            for number, outcome in enumerate(self.scope.outcomes)
            for name, text in self._numbers(outcome, number)
        ]
        return (
            f"SELECT any(least) AS least, any(crossed) AS crossed, {', '.join(numbers)} FROM ({self.joined()}) "
            "GROUP BY who"
        )

    def joined(self) -> str:
        """Select each exposed visitor with each of their events; `number` is 0 where there is none."""
        return (
            f"SELECT exposed.who AS who, least, crossed, {SINCE} AS since, happened.* EXCEPT who FROM exposed "
            f"LEFT JOIN ({self._happened()}) AS happened ON exposed.who = happened.who"
        )

    def _happened(self) -> str:
        """Select every event that may count, once."""
        names = ", ".join(f"unhex({{event_{number}:String}})" for number in range(len(self._events)))
        properties = "".join(
            f", argMin(if(nth = {self._events.index(event) + 1}, "
            f"JSONExtractFloat(properties, unhex({{property_{number}:String}})), 0.), place) AS property_{number}"
            for number, (event, _) in enumerate(self._properties)
        )
        return (
            # One hash instead of visitor, event and order: a key of 64 bits is the quickest to group by.
            f"SELECT any({VISITOR_KEY}) AS who, any(nth) AS number, "
            "toInt64(bitShiftRight(min(place), 22)) AS happened_at, argMin(revenue, place) AS revenue_of"
            f"{properties} FROM (SELECT {VISITOR_KEY}, toUInt16(indexOf([{names}], event)) AS nth, {_PLACE} AS place, "
            f"revenue, properties, cityHash64({VISITOR_KEY}, event, "
            "if(order_id = '', xxHash64(message_id), cityHash64(order_id))) AS once FROM events "
            "WHERE campaign = {campaign:String} AND time >= {start:Int64} - {history:Int64} AND time < {end:Int64} "
            f"AND bot = 0 AND type = 'track' AND {VISITOR_KEY} != 0 AND event IN ({names}) "
            f"AND {VISITOR_KEY} IN (SELECT {VISITOR_KEY} FROM exposures WHERE {OF_TEST})) GROUP BY once"
        )

    def _numbers(self, outcome: Outcome, number: int) -> Iterator[tuple[str, str]]:
        yield "y", self.value(outcome.amount, f"y{number}")
        if outcome.over is not None:
            yield "x", self.value(outcome.over, f"x{number}")
        elif outcome.history:
            yield "x", self.value(outcome.amount, f"x{number}", outcome.history)
        else:
            yield "x", "0."

    def value(self, amount: Amount, name: str, history: int = 0) -> str:
        """Give the number of a visitor, from their events after the exposure, or in a history before it."""
        counts = self.counts(amount, history)
        match amount.of:
            case "Any":
                value = f"toFloat64(countIf({counts}) > 0)"
            case "Count":
                value = f"toFloat64(countIf({counts}))"
            case "Revenue" | "Property":
                value = f"sumIf({self.each(amount)}, {counts})"
            case "TimeTo":
                stretch = history or self.scope.within
                first = f"minIf(happened_at - since + {history:d}, {counts})"
                value = f"if(countIf({counts}) > 0, {first}, {stretch:d}) / 1000"
        return self.at_most(value, amount, name)

    def counts(self, amount: Amount, history: int = 0) -> str:
        """Tell which events make up an amount."""
        when = (
            f"happened_at < since AND happened_at >= since - {history:d}"
            if history
            else "happened_at >= since AND happened_at < since + {within:Int64}"
        )
        return f"number = {self._number(amount.event)} AND {when}"

    def each(self, amount: Amount) -> str:
        """Give what one event adds to an amount."""
        if amount.of == "Revenue":
            return "revenue_of"
        if amount.of == "Property":
            return f"property_{self._property(amount)}"
        return "1."

    def at_most(self, value: str, amount: Amount, name: str) -> str:
        """Cut a number at the amount's cap and at its limit."""
        most = min(amount.cap, self.cuts.get(name, math.inf))
        return value if math.isinf(most) else f"least({value}, {float(most)!r})"

    def _number(self, event: str) -> int:
        if event not in self._events:
            self.parameters[f"event_{len(self._events)}"] = event.encode().hex()
            self._events.append(event)
        return self._events.index(event) + 1

    def _property(self, amount: Amount) -> int:
        key = (amount.event, amount.name)
        if key not in self._properties:
            self.parameters[f"property_{len(self._properties)}"] = amount.name.encode().hex()
            self._properties.append(key)
        return self._properties.index(key)
