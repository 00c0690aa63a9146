"""What counts over a window in Flink SQL: count, rate, distinct, sum and changes. Pure."""

# ruff: noqa: S608 - names in the SQL are our own, and all text that comes from outside is quoted by flink_text

from fractions import Fraction

from flywheel.fraud.flink_filters import number_of, text_of
from flywheel.fraud.flink_text import name, number
from flywheel.fraud.flink_views import (
    Answer,
    Asked,
    alike,
    before,
    each_tick,
    found_view,
    kept_view,
    listed,
    log_of,
    nearest_query,
    pairs_query,
    view,
)
from flywheel.fraud.rule import LARGEST_VALUE, UNIT, Changes, Count, Distinct, Rate, Sum, kept

_LATEST = "`was_happened` DESC, `was_arrived` DESC, `was_lane` DESC, `was_place` DESC"


def counted(asked: Asked, condition: Count | Rate) -> Answer:
    """Count events. Of `rate`, what is counted is written as the rate that it is."""
    most = kept(asked.rule, condition)
    seen = f"LEAST(COUNT(*), {most:d})"
    observed = f"CAST({seen} AS DOUBLE)"
    if isinstance(condition, Rate):
        observed = f"CAST({seen} * {condition.per:d} AS DOUBLE) / {number(asked.rule.window)}"
    views = [*_inside(asked, most - 1), _found(asked, observed, condition.more_than, "COUNT(*)", most - 1, most)]
    return Answer(views=tuple(views))


def distinct(asked: Asked, condition: Distinct) -> Answer:
    """Count different values."""
    value = asked.own("value")
    limit, seen = condition.more_than, f"COUNT(DISTINCT {name('was_' + value)})"
    observed = f"CAST(LEAST({seen}, {limit + 1:d}) AS DOUBLE)"
    views = [*_inside(asked, limit, value), _found(asked, observed, limit, seen, limit, limit + 1)]
    return Answer(columns=(f"{text_of(condition.field)} AS {name(value)}",), views=tuple(views))


def summed(asked: Asked, condition: Sum) -> Answer:
    """Add values up, in whole ten-thousandths: so the sum does not depend on the order of what is added."""
    value, most = asked.own("value"), condition.maximum_events
    limit = int(Fraction(repr(condition.more_than)) * UNIT // 1)
    total = f"SUM(CASE WHEN `nth` <= {most:d} THEN {name('was_' + value)} ELSE 0 END)"
    top = nearest_query(asked, asked.own("inside"), _LATEST, most + 1, ("newest", "was_" + value, "nth"))
    views = [
        *_inside(asked, 0, value),
        view(asked.own("latest"), top),
        found_view(
            asked,
            asked.own("latest"),
            f"CAST({total} AS DOUBLE) / {number(UNIT)}",
            condition.more_than,
            _since(asked),
            f"{total} > {limit:d}",
            by="newest",
            saturated=f"MAX(`nth`) > {most:d}",
        ),
    ]
    return Answer(columns=(f"{_units(condition.field)} AS {name(value)}",), views=tuple(views))


def _units(field: str) -> str:
    """Give a field in ten-thousandths, rounded as IEEE 754 does: halves to the even one."""
    seen = number_of(field)
    units, whole = f"({seen} * {number(UNIT)})", f"FLOOR({seen} * {number(UNIT)})"
    rest = f"({units} - {whole})"
    up = f"{rest} > 0.5E0 OR ({rest} = 0.5E0 AND MOD(CAST({whole} AS BIGINT), 2) <> 0)"
    rounded = f"CAST({whole} AS BIGINT) + CASE WHEN {up} THEN 1 ELSE 0 END"
    return f"CASE WHEN ABS({seen}) <= {number(LARGEST_VALUE)} THEN {rounded} END"


def changes(asked: Asked, condition: Changes) -> Answer:
    """Count how often a value differs from the one before it."""
    value, most = asked.own("value"), condition.maximum_events
    was = "was_" + value
    latest = nearest_query(asked, asked.own("many"), _LATEST, most, ("newest", "many", was, "nth"))
    columns = listed((*asked.event, "newest", "many"), "a")
    joined = (
        f"SELECT a.`window_time` AS `tick`, {columns}\nFROM {{table}} AS a JOIN {{table}} AS b\n"
        "ON a.`window_start` = b.`window_start` AND a.`window_end` = b.`window_end` AND a.`lane` = b.`lane` AND "
        f"a.`place` = b.`place` AND a.`nth` + 1 = b.`nth`\nWHERE a.{name(was)} <> b.{name(was)}"
    ).format(table=f"(SELECT * FROM {each_tick(asked.own('latest'))})")
    limit = condition.more_than
    views = [
        *_inside(asked, limit + 1, value),
        view(asked.own("many"), f"SELECT *, {alike('COUNT(*)')} AS `many`\nFROM {name(asked.own('inside'))}"),
        view(asked.own("latest"), latest),
        view(asked.own("changed"), joined),
        found_view(
            asked,
            asked.own("changed"),
            "CAST(COUNT(*) AS DOUBLE)",
            limit,
            _since(asked),
            f"COUNT(*) > {limit:d}",
            by="newest",
            saturated=f"MAX(`many`) > {most:d}",
        ),
    ]
    return Answer(columns=(f"{text_of(condition.field)} AS {name(value)}",), views=tuple(views))


def _since(asked: Asked) -> str:
    return f"`newest` - {asked.rule.window:d}"


def _found(asked: Asked, observed: str, limit: float, seen: str, most: int, saturates: int) -> str:
    return found_view(
        asked,
        asked.own("inside"),
        observed,
        float(limit),
        _since(asked),
        f"{seen} > {most:d}",
        by="newest",
        saturated=f"{seen} > {saturates:d}",
    )


def _inside(asked: Asked, least: int, *extra: str) -> list[str]:
    """Write the view `inside`: each event with each one in its window.

    The window ends with the newest that had happened to the key when the event came, itself or one before.

    Args:
        asked: The condition.
        least: Events that have not kept more than that cannot meet the condition: they go no further.
        extra: The value that is looked at; events without it do not count.
    """
    there = "".join(f" AND {name(each)} IS NOT NULL" for each in extra)
    where = f"CARDINALITY(e.`kept`) > {least:d} AND {before(log_of('p.'), log_of('e.'), same=True)}"
    newest = f"SELECT *, {alike('MAX(`was_happened`)')} AS `newest` FROM {name(asked.own('pairs'))}"
    return [
        kept_view(asked, f"`seen`\nWHERE `judged`{there}", asked.keys, asked.rule.window, extra),
        view(asked.own("pairs"), pairs_query(asked, asked.own("kept"), where, extra)),
        view(asked.own("inside"), f"SELECT * FROM ({newest})\nWHERE `was_happened` > `newest` - {asked.rule.window:d}"),
    ]
