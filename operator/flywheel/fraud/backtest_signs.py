"""What a rule counts, in SQL by windows over the events of a key, exactly as the engine's windows are. Pure.

Events of a key stand in the order of their time, then of their arrival, then of their ids. An event's window holds the
events up to itself whose time lies in (its time - window, its time]. How many that are comes of two counts from the
beginning of the key: up to the event, and up to the last moment that is no longer in the window. Both only ever grow,
so each event costs the same, however many its window holds.
"""

from dataclasses import dataclass
from fractions import Fraction

from flywheel.api.fraudrule_condition import AccountAgeSign, SequenceSign, Sign, VelocitySign
from flywheel.fraud.backtest_fields import Binder, Untried, field_of
from flywheel.fraud.backtest_filters import named

NOTHING = "-inf"
"""Value of an event by which the sign does not judge it."""
UNIT = 10_000
"""A sum counts ten-thousandths, in whole numbers: it is exact, in whatever order values come."""
LARGEST_VALUE = 1e9
"""Of one value that is summed up."""
EARTH = 6371.0088
"""Mean radius, in kilometres."""
PLACE_SLACK = 50.0
"""Kilometres by which a place may be off."""
FARTHER = 10
"""Times of a sign's own time limit up to which longer ones are tried."""
LONGEST = 90 * 86_400_000
ORDER = "ORDER BY happened, came, id"
_UP_TO = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
_BEFORE = "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
_ALL = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
_RFC_3339 = (
    "^[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?"
    "(Z|z|[+-][0-9]{2}:[0-9]{2})$"
)
_BY_WATCHING = "leave the rule in Shadow for a while, and look at what it finds"
_WHY = {
    "linked": f"follows links from account to account, which is not asked of the past: {_BY_WATCHING}",
    "score": f"asks a model, which the event store cannot run: {_BY_WATCHING}",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """How one sign measures an event."""

    value: str
    """Of an event; above `raw(limit)` where the event breaks the rule. Of times, the negative: shorter is worse."""
    columns: tuple[str, ...] = ()
    """What is read of each event."""
    layers: tuple[tuple[str, ...], ...] = ()
    """Columns by windows, each layer over the one before."""
    also: tuple[str, ...] = ()
    """Events that are looked at beside those that the rule matches."""
    fields: tuple[str, ...] = ()
    """Fields without which an event is not judged."""
    back: int = 0
    """Milliseconds before the first judged event from which on events matter."""


def measure(sign: Sign, number: int, window: int, kept: int, binder: Binder) -> Measure:
    """Give how a sign measures.

    Args:
        sign: One thing that a rule asks.
        number: Its place among those of the rule: it makes names of columns differ.
        window: Of the rule, in milliseconds; 0 where it has none.
        kept: Events of a key that `sum` and `velocity` remember.
        binder: Takes the parameters.

    Raises:
        Untried: The store does not have what the sign asks for, or SQL cannot tell.
    """
    if sign.count or sign.rate:
        counted = _counted(f"u{number}", number, window)
        return Measure(
            _if_judged(number, f"place{number} - gone{number}"), (f"m AS u{number}",), (counted,), back=window
        )
    if sign.distinct:
        return _distinct(sign.distinct.field, number, window, binder)
    if sign.sum:
        return _sum(sign.sum.field, number, window, kept, binder)
    if sign.sequence:
        return _sequence(sign.sequence, number, binder)
    if sign.account_age:
        return _account_age(sign.account_age, number, binder)
    if sign.velocity:
        return _velocity(sign.velocity, number, window, kept, binder)
    raise Untried(f"{sign.kind} {_WHY[sign.kind]}")


def raw(sign: Sign, limit: float, window: int) -> float:
    """Give, in what is measured, the most that a limit allows."""
    if sign.rate:
        per = round(sign.rate.per.total_seconds() * 1000)
        return float(Fraction(repr(limit)) * window / per // 1)
    if sign.sum:
        return float(Fraction(repr(limit)) * UNIT // 1)
    return -limit if sign.sequence or sign.account_age else float(limit)


def _if_judged(number: int, value: str) -> str:
    return f"if(u{number}, toFloat64({value}), {NOTHING})"


def _key(number: int) -> str:
    return f"PARTITION BY k, u{number}"


def _counted(what: str, number: int, window: int) -> tuple[str, str]:
    """Give the two counts: `place` of the event among those of its key, and how many of these are `gone`."""
    gone = f"RANGE BETWEEN UNBOUNDED PRECEDING AND {window:d} PRECEDING"
    return (
        f"toInt64(sum({what}) OVER ({_key(number)} {ORDER} {_UP_TO})) AS place{number}",
        f"toInt64(sum({what}) OVER ({_key(number)} ORDER BY happened {gone})) AS gone{number}",
    )


def _distinct(name: str, n: int, window: int, binder: Binder) -> Measure:
    """Count the stretches in which a value is in the window: those that have begun, without those that are over.

    A stretch begins with an event whose value was not there in the window before it, and is over a window after its
    last event.
    """
    text = field_of(name, binder).text
    value = f"PARTITION BY k, u{n}, member{n} {ORDER} {_ALL}"
    gone = f"RANGE BETWEEN UNBOUNDED PRECEDING AND {window:d} PRECEDING"
    return Measure(
        _if_judged(n, f"begun{n} - over{n}"),
        (f"cityHash64({text}) AS member{n}", f"m AND {text} != '' AS u{n}"),
        (
            (
                f"happened - lagInFrame(happened, 1, toInt64(0)) OVER ({value}) >= {window:d} AS begins{n}",
                f"leadInFrame(happened, 1, toInt64({1 << 62})) OVER ({value}) - happened >= {window:d} AS ends{n}",
            ),
            (
                f"toInt64(sum(begins{n}) OVER ({_key(n)} {ORDER} {_UP_TO})) AS begun{n}",
                f"toInt64(sum(ends{n}) OVER ({_key(n)} ORDER BY happened {gone})) AS over{n}",
            ),
        ),
        fields=(name,),
        back=window,
    )


def _sum(name: str, n: int, window: int, kept: int, binder: Binder) -> Measure:
    number = field_of(name, binder).number
    return Measure(
        _if_judged(n, f"total{n} - before{n}"),
        (
            f"m AND abs({number}) <= {LARGEST_VALUE!r} AS u{n}",
            f"toInt64(if(u{n}, round({number} * {UNIT}), 0.)) AS amount{n}",
        ),
        (
            (*_counted(f"u{n}", n, window), f"toInt64(sum(amount{n}) OVER ({_key(n)} {ORDER} {_UP_TO})) AS total{n}"),
            (_back(f"total{n}", f"least(place{n} - gone{n}, {kept:d})", n, f"before{n}"),),
        ),
        fields=(name,),
        back=window,
    )


def _back(column: str, steps: str, n: int, name: str) -> str:
    """Give the value of a column so many events of the key ago; 0 before its first event."""
    return f"lagInFrame({column}, toUInt64({steps}), toInt64(0)) OVER ({_key(n)} {ORDER} {_UP_TO}) AS {name}"


def _changes(name: str, n: int, window: int, kept: int, binder: Binder) -> Measure:
    text = field_of(name, binder).text
    changed = f"place{n} > 1 AND member{n} != previous{n}"
    return Measure(
        _if_judged(n, f"changes{n} - before{n}"),
        (f"cityHash64({text}) AS member{n}", f"m AND {text} != '' AS u{n}"),
        (
            (
                *_counted(f"u{n}", n, window),
                f"lagInFrame(member{n}, 1) OVER ({_key(n)} {ORDER} {_UP_TO}) AS previous{n}",
            ),
            (f"toInt64(sum({changed}) OVER ({_key(n)} {ORDER} {_UP_TO})) AS changes{n}",),
            # Into the oldest event of the window nothing has changed: what was before it is out of sight.
            (_back(f"changes{n}", f"greatest(least(place{n} - gone{n}, {kept:d}), 1) - 1", n, f"before{n}"),),
        ),
        fields=(name,),
        back=window,
    )


def _velocity(asked: VelocitySign, n: int, window: int, kept: int, binder: Binder) -> Measure:
    if asked.changes is not None:
        return _changes(asked.changes, n, window, kept, binder)
    names = (asked.latitude or "", asked.longitude or "")
    latitude, longitude = (field_of(name, binder).number for name in names)
    order = f"{_key(n)} {ORDER} {_UP_TO}"
    across = f"pow(sin(radians(latitude{n} - latitude_before{n}) / 2), 2)"
    along = f"pow(sin(radians(longitude{n} - longitude_before{n}) / 2), 2)"
    angle = f"{across} + cos(radians(latitude_before{n})) * cos(radians(latitude{n})) * {along}"
    distance = f"greatest({2 * EARTH!r} * asin(sqrt(least(1., {angle}))) - {PLACE_SLACK!r}, 0.)"
    speed = f"{distance} / greatest(1, happened - happened_before{n}) * 3600000"
    return Measure(
        _if_judged(n, f"if(happened - happened_before{n} < {window:d}, {speed}, 0.)"),
        (
            f"{latitude} AS latitude{n}",
            f"{longitude} AS longitude{n}",
            f"m AND abs(latitude{n}) <= 90 AND abs(longitude{n}) <= 180 AS u{n}",
        ),
        (
            (
                f"lagInFrame(happened, 1, toInt64(0)) OVER ({order}) AS happened_before{n}",
                f"lagInFrame(latitude{n}, 1) OVER ({order}) AS latitude_before{n}",
                f"lagInFrame(longitude{n}, 1) OVER ({order}) AS longitude_before{n}",
            ),
        ),
        fields=names,
        back=window,
    )


def _sequence(asked: SequenceSign, n: int, binder: Binder) -> Measure:
    """Find the latest beginning: of each step, that from which it has been reached before the event."""
    columns, layers = [], []
    for place, step in enumerate(asked.steps):
        columns.append(f"k != 0 AND {named(step.event, step.where, binder)} AS step{n}_{place}")
        reached = f"from{n}_{place - 1}" if place else "happened"
        since = f"max(if(step{n}_{place}, {reached}, toInt64(0)))"
        layers.append((f"{since} OVER (PARTITION BY k {ORDER} {_BEFORE}) AS from{n}_{place}",))
    last = f"from{n}_{len(asked.steps) - 1}"
    return Measure(
        f"if(m AND {last} > 0, toFloat64({last} - happened), {NOTHING})",
        tuple(columns),
        tuple(layers),
        also=tuple(f"step{n}_{place}" for place in range(len(asked.steps))),
        back=_farthest(asked.within.total_seconds()),
    )


def _account_age(asked: AccountAgeSign, n: int, binder: Binder) -> Measure:
    if asked.since is None:
        return _created(asked.created_at or "", n, binder)
    account = f"PARTITION BY account{n} {ORDER} {_UP_TO}"
    return Measure(
        f"if(m AND account{n} != 0 AND born{n} > 0, toFloat64(born{n} - happened), {NOTHING})",
        (
            f"if(user_id = '', 0, cityHash64(user_id)) AS account{n}",
            f"account{n} != 0 AND {named(asked.since, (), binder)} AS birth{n}",
        ),
        ((f"max(if(birth{n}, happened, toInt64(0))) OVER ({account}) AS born{n}",),),
        also=(f"birth{n}",),
        fields=("user",),
        back=_farthest(asked.less_than.total_seconds()),
    )


def _created(name: str, n: int, binder: Binder) -> Measure:
    """Read RFC 3339, or seconds or milliseconds since 1970; what is none of these is of unknown age."""
    found = field_of(name, binder)
    told = f"if(match({found.string}, '{_RFC_3339}'), parseDateTime64BestEffortOrNull({found.string}, 6, 'UTC'), NULL)"
    number = found.number
    counted = f"toInt64(if({number} < 1e11, {number} * 1000, {number}))"
    created = (
        f"multiIf({number} >= 0 AND {number} < 1e14, {counted}, isNull({told}), NULL, "
        f"toInt64(round(toUnixTimestamp64Micro(assumeNotNull({told})) / 1000)))"
    )
    # Who is not born yet is as young as can be.
    age = f"toFloat64(least(assumeNotNull(born{n}) - happened, 0))"
    return Measure(
        f"if(m AND isNotNull(born{n}), {age}, {NOTHING})",
        (f"{created} AS born{n}",),
        fields=(name,),
    )


def _farthest(seconds: float) -> int:
    return min(LONGEST, round(seconds * 1000) * FARTHER)
