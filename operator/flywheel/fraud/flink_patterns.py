"""Sequences, ages of accounts and speeds in Flink SQL. Pure."""

# ruff: noqa: S608 - names in the SQL are our own, and all text that comes from outside is quoted by flink_text

from flywheel.fraud.flink_filters import means, moment_of, number_of, text_of
from flywheel.fraud.flink_text import name, number
from flywheel.fraud.flink_views import (
    OF_KEPT,
    Answer,
    Asked,
    before,
    found_view,
    kept_view,
    listed,
    log_of,
    nearest_query,
    pairs_query,
    view,
)
from flywheel.fraud.rule import AccountAge, Match, Sequence, Speed

EARTH = 6371.0088
"""Mean radius, in kilometres."""
PLACES_KEPT = 8
"""Of one key: the latest, as many as the engine keeps."""
_LATEST = "`was_happened` DESC, `was_arrived` DESC, `was_lane` DESC, `was_place` DESC"
_WAS = tuple(f"was_{each}" for each in OF_KEPT)


def sequence(asked: Asked, condition: Sequence) -> Answer:
    """Find the latest beginning of a sequence that ends with the event, going backwards from step to step."""
    steps = tuple(asked.own(f"step{number}") for number in range(len(condition.steps)))
    wanted = " OR ".join(map(name, ("judged", *steps)))
    views = [kept_view(asked, f"`seen`\nWHERE ({wanted}) AND {_has_key(asked)}", asked.keys, condition.within, steps)]
    source = asked.own("kept")
    for level in reversed(range(len(steps))):
        views += _step_back(asked, source, level, steps)
        source = asked.own(f"at{level}")
    took = "MAX(`happened` - `was_happened`)"
    views.append(
        found_view(
            asked,
            source,
            f"CAST({took} AS DOUBLE)",
            float(condition.within),
            f"`happened` - {condition.within:d}",
            f"{took} < {condition.within:d}",
        )
    )
    columns = tuple(f"{means(step)} AS {name(column)}" for step, column in zip(condition.steps, steps, strict=True))
    return Answer(columns, steps, tuple(views))


def _step_back(asked: Asked, source: str, level: int, steps: tuple[str, ...]) -> list[str]:
    """Write the views that find, for each event, the latest event of a step before where the event has come to."""
    known = f"p.{name(steps[level])} AND {before(log_of('p.'), log_of('e.'))}"
    if level == len(steps) - 1:
        where = f"e.`judged` AND {known} AND p.`happened` <= e.`happened`"
    else:
        so_far = ("e.`was_happened`", *log_of("e.was_"))
        where = f"{known} AND {before(('p.`happened`', *log_of('p.')), so_far)}"
    pairs, found = asked.own(f"before{level}"), asked.own(f"at{level}")
    return [
        view(pairs, pairs_query(asked, source, where, steps, ("kept",))),
        view(found, nearest_query(asked, pairs, _LATEST, 1, (*_WAS, "kept"))),
    ]


def account_age(asked: Asked, condition: AccountAge) -> Answer:
    """Find accounts that are too young."""
    if condition.since is not None:
        return _since_event(asked, condition, condition.since)
    born, least = asked.own("born"), condition.less_than
    found = (
        f"SELECT `tick`, {listed(asked.event)}, {asked.number:d} AS `rank`,\n"
        f"    CAST(GREATEST(`happened` - {name(born)}, 0) AS DOUBLE) AS `observed`, {number(least)} AS `limit`, "
        f"`happened` - {least:d} AS `since`, 0 AS `saturated`\n"
        f"FROM `seen`\nWHERE `judged` AND {name(born)} IS NOT NULL AND `happened` - {name(born)} < {least:d}"
    )
    columns = (f"{moment_of(condition.created_at)} AS {name(born)}",)
    return Answer(columns=columns, views=(view(asked.own("found"), found),))


def _since_event(asked: Asked, condition: AccountAge, since: Match) -> Answer:
    account, born, least = asked.own("account"), asked.own("begins"), condition.less_than
    where = f"e.`judged` AND p.{name(born)} AND {before(log_of('p.'), log_of('e.'), same=True)}"
    source = f"`seen`\nWHERE (`judged` OR {name(born)}) AND {name(account)} IS NOT NULL"
    age = "(`happened` - MAX(`was_happened`))"
    views = (
        kept_view(asked, source, (account,), least, (born,)),
        view(asked.own("begun"), pairs_query(asked, asked.own("kept"), where, (born,))),
        found_view(
            asked,
            asked.own("begun"),
            f"CAST({age} AS DOUBLE)",
            float(least),
            f"`happened` - {least:d}",
            f"{age} >= 0 AND {age} < {least:d}",
        ),
    )
    return Answer((f"{text_of('user')} AS {name(account)}", f"{means(since)} AS {name(born)}"), (born,), views)


def speed(asked: Asked, condition: Speed) -> Answer:
    """Compare an event with those just before and after it, of the latest that its key has kept."""
    latitude, longitude = asked.own("latitude"), asked.own("longitude")
    places, window = (latitude, longitude), asked.rule.window
    was = tuple(f"was_{each}" for each in places)
    there = f"ABS({name(latitude)}) <= 9E1 AND ABS({name(longitude)}) <= 1.8E2"
    later = "(`was_happened` > `happened`)"
    nearest = ", ".join(
        [
            "ABS(`was_happened` - `happened`)",
            *(f"CASE WHEN {later} THEN {each} ELSE -{each} END" for each in log_of("was_")),
        ]
    )
    carried = (*_WAS, *places, *was)
    known = before(log_of("p."), log_of("e."))
    fastest = f"MAX({_kilometres_per_hour(latitude, longitude, condition.slack_kilometres)})"
    views = (
        kept_view(asked, f"`seen`\nWHERE `judged` AND {there}", asked.keys, window, places),
        view(asked.own("pairs"), pairs_query(asked, asked.own("kept"), known, places, places)),
        view(asked.own("latest"), nearest_query(asked, asked.own("pairs"), _LATEST, PLACES_KEPT, carried)),
        view(
            asked.own("next"),
            nearest_query(asked, asked.own("latest"), nearest, 1, carried, f", {later}"),
        ),
        view(
            asked.own("around"),
            f"SELECT * FROM {name(asked.own('next'))}\nWHERE ABS(`was_happened` - `happened`) < {window:d}",
        ),
        found_view(
            asked,
            asked.own("around"),
            fastest,
            condition.kilometres_per_hour,
            f"`happened` - {window:d}",
            f"{fastest} > {number(condition.kilometres_per_hour)}",
        ),
    )
    columns = tuple(
        f"{number_of(field)} AS {name(column)}"
        for field, column in ((condition.latitude, latitude), (condition.longitude, longitude))
    )
    return Answer(columns=columns, views=views)


def _kilometres_per_hour(latitude: str, longitude: str, slack: float) -> str:
    """Give the speed by haversines; a place is only known to within the slack."""
    low, high = f"RADIANS({name('was_' + latitude)})", f"RADIANS({name(latitude)})"
    across = f"POWER(SIN(({high} - {low}) / 2E0), 2E0)"
    along = f"POWER(SIN(RADIANS({name(longitude)} - {name('was_' + longitude)}) / 2E0), 2E0)"
    angle = f"LEAST(1E0, {across} + COS({low}) * COS({high}) * {along})"
    distance = f"({number(2 * EARTH)} * ASIN(SQRT({angle})) - {number(slack)})"
    hours = "(CAST(GREATEST(1, ABS(`happened` - `was_happened`)) AS DOUBLE) / 3.6E6)"
    return f"GREATEST(0E0, {distance} / {hours})"


def _has_key(asked: Asked) -> str:
    return " AND ".join(f"{name(each)} IS NOT NULL" for each in asked.keys)
