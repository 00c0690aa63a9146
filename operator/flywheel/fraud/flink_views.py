"""The common parts of what is asked in Flink SQL: the columns of an event, what was before it, and views. Pure.

Events stand in the order of their arrival, those of one millisecond by lane and place of the topic: that is the order
of the log. `tick` is the arrival as Flink's time, so it waits no longer than arrivals are out of order. The windows,
however, are about when something happened. So each event takes along what its key has kept, as an array; the array is
taken apart again; and what belongs into the event's window is put together once more, event by event.
"""

# ruff: noqa: S608 - names in the SQL are our own, and all text that comes from outside is quoted by flink_text

from collections.abc import Iterable
from dataclasses import dataclass

from flywheel.fraud.flink_text import interval, name, number
from flywheel.fraud.rule import Rule

OF_EVENT = ("lane", "place", "arrived", "id", "happened")
"""What is known of an event beside its key."""
OF_KEPT = ("happened", "arrived", "lane", "place")
_TICK = interval(1)
_SHORTEST = f"RANGE BETWEEN {_TICK} PRECEDING AND CURRENT ROW"


@dataclass(frozen=True, slots=True)
class Asked:
    """One condition of a rule, to be asked."""

    rule: Rule
    number: int
    """Its place among the rule's conditions: it makes names differ."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the columns of the key."""
        return tuple(f"key{number}" for number in range(len(self.rule.key)))

    @property
    def event(self) -> tuple[str, ...]:
        """Names of the columns that an event takes along."""
        return (*OF_EVENT, *self.keys)

    def own(self, word: str) -> str:
        """Give a name that no other condition uses."""
        return f"c{self.number:d}_{word}"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a condition is answered."""

    columns: tuple[str, ...] = ()
    """What is read of each event, each with AS."""
    also: tuple[str, ...] = ()
    """Columns that are true of events that are needed beside those that the rule judges."""
    views: tuple[str, ...] = ()
    """Statements, in their order. The last one makes the view `found`."""


def view(title: str, query: str) -> str:
    """Write a view."""
    return f"CREATE TEMPORARY VIEW {name(title)} AS\n{query}"


def listed(columns: Iterable[str], of: str = "") -> str:
    """Write names of columns."""
    return ", ".join(f"{of}.{name(each)}" if of else name(each) for each in columns)


def kept_view(asked: Asked, source: str, by: Iterable[str], span: int, extra: Iterable[str] = ()) -> str:
    """Write the view `kept`: each event with an array of what was not long before it, and itself.

    Args:
        asked: The condition.
        source: FROM and WHERE.
        by: Columns whose events belong together.
        span: Milliseconds that matter, in time of happening.
        extra: Columns that are kept beside those that every event has.
    """
    extra = tuple(extra)
    over = (
        f"PARTITION BY {listed(by)} ORDER BY `tick` RANGE BETWEEN {interval(span + asked.rule.lateness)} PRECEDING "
        "AND CURRENT ROW"
    )
    return view(
        asked.own("kept"),
        f"SELECT `tick`, {listed(('judged', *asked.event, *extra))},\n"
        f"    ARRAY_AGG(ROW({listed((*OF_KEPT, *extra))})) OVER ({over}) AS `kept`\nFROM {source}",
    )


def pairs_query(asked: Asked, source: str, where: str, extra: Iterable[str] = (), carried: Iterable[str] = ()) -> str:
    """Write a query that gives each event of a view with each one that it has kept, as `was_...`.

    Args:
        asked: The condition.
        source: The view.
        where: Which pairs; `e` is the event and `p` what was kept.
        extra: What is kept beside what every event has.
        carried: Other columns of the event that are needed.
    """
    extra, carried = tuple(extra), tuple(carried)
    was = ", ".join(f"p.{name(each)} AS {name('was_' + each)}" for each in (*OF_KEPT, *extra))
    columns = listed(("tick", *asked.event, *carried), "e")
    return (
        f"SELECT {columns}, {was}\nFROM {name(source)} AS e CROSS JOIN UNNEST(e.`kept`) "
        f"AS p ({listed((*OF_KEPT, *extra))})\nWHERE {where}"
    )


def before(first: Iterable[str], second: Iterable[str], *, same: bool = False) -> str:
    """Say that one row of columns comes before another one, or may be the same."""
    pairs = list(zip(first, second, strict=True))
    *earlier, (left, right) = pairs
    said = f"{left} {'<=' if same else '<'} {right}"
    for one, other in reversed(earlier):
        said = f"({one} < {other} OR ({one} = {other} AND {said}))"
    return said


def log_of(prefix: str) -> tuple[str, ...]:
    """Name the columns by which the log is ordered."""
    return tuple(f"{prefix}{each}" for each in ("arrived", "lane", "place"))


def alike(what: str) -> str:
    """Write a function over all rows of one event: these have one tick."""
    return f"{what} OVER (PARTITION BY `lane`, `place` ORDER BY `tick` {_SHORTEST})"


def each_tick(source: str) -> str:
    """Write a table in windows of one tick: the rows of an event are in one, and all of them are there at its end."""
    return f"TABLE(TUMBLE(TABLE {name(source)}, DESCRIPTOR(`tick`), {_TICK}))"


def nearest_query(asked: Asked, source: str, order: str, most: int, carried: Iterable[str], by: str = "") -> str:
    """Write a query that keeps so many rows of each event, the first by an order; `nth` is their number."""
    columns = listed((*asked.event, *carried))
    ranked = (
        f"SELECT *, ROW_NUMBER() OVER (PARTITION BY `window_start`, `window_end`, `lane`, `place`{by} "
        f"ORDER BY {order}) AS `nth`\n    FROM {each_tick(source)}"
    )
    return f"SELECT `window_time` AS `tick`, {columns}\nFROM (\n    {ranked}\n) WHERE `nth` <= {most:d}"


def found_view(asked: Asked, source: str, observed: str, limit: float, since: str, having: str, **more: str) -> str:
    """Write the view `found`: one row for each event that meets the condition.

    Args:
        asked: The condition.
        source: A view with some rows of each event.
        observed: What was found, put together from these.
        limit: What is allowed.
        since: When the window began, by columns of the event.
        having: Which events.
        more: `saturated`, when there may have been more; `by`, a column of the event that `since` needs.
    """
    by = f", {name(more['by'])}" if "by" in more else ""
    columns = listed(asked.event)
    return view(
        asked.own("found"),
        f"SELECT `window_time` AS `tick`, {columns}, {asked.number:d} AS `rank`,\n"
        f"    {observed} AS `observed`, {number(limit)} AS `limit`, {since} AS `since`, "
        f"CASE WHEN {more.get('saturated', 'FALSE')} THEN 1 ELSE 0 END AS `saturated`\n"
        f"FROM {each_tick(source)}\n"
        f"GROUP BY `window_start`, `window_end`, `window_time`, {columns}{by}\nHAVING {having}",
    )
