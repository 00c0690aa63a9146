"""A fraud rule as Flink SQL: from a topic of events to a topic of verdicts, equal to the engine's. Pure.

What is equal, and of what
    The verdicts on a log that is in the order of arrivals; events of one millisecond stand by lane (partition) and
    place (offset) of the topic. Which event broke which rule, what was observed, the limit, the window's beginning and
    whether there was more than is counted are the same, events out of time, repeated and late ones among them.
What differs
    Ids are remembered for as long as Flink keeps state, the engine's ten minutes or longer. There is no bound on the
    number of keys, so none is forgotten early; and steps of a sequence beyond the latest 64 of a key are not either.
"""

# ruff: noqa: S608 - names in the SQL are our own, and all text that comes from outside is quoted by flink_text

from collections.abc import Sequence as List
from dataclasses import dataclass

from flywheel.api.problem import Problem
from flywheel.fraud import rule as judged
from flywheel.fraud.flink_filters import key_of, means
from flywheel.fraud.flink_patterns import account_age, sequence, speed
from flywheel.fraud.flink_text import interval, literal, name
from flywheel.fraud.flink_views import Answer, Asked, each_tick, listed, view
from flywheel.fraud.flink_windows import changes, counted, distinct, summed
from flywheel.fraud.rule import Condition, Rule
from flywheel.fraud.where import unfit

EVENTS, VERDICTS = "events", "verdicts"
REMEMBER = 600_000
"""Milliseconds for which ids of events are kept at least."""
_EVENT_COLUMNS = (
    *("`id` STRING", "`type` STRING", "`name` STRING", "`time` BIGINT", "`arrived` BIGINT"),
    *("`address` STRING", "`visitor` STRING", "`user` STRING"),
    *("`fields` MAP<STRING, STRING>", "`numbers` MAP<STRING, DOUBLE>", "`truths` MAP<STRING, BOOLEAN>"),
    *("`addresses` MAP<STRING, STRING>", "`moments` MAP<STRING, BIGINT>"),
)
_VERDICT_COLUMNS = (
    *("`rule` STRING", "`version` STRING", "`event` STRING", "`at` BIGINT", "`key` ARRAY<STRING>"),
    *("`observed` DOUBLE", "`limit` DOUBLE", "`since` BIGINT", "`saturated` BOOLEAN"),
    # Where the event stands on its topic: whoever acts on the verdict reads it there.
    *("`lane` INT", "`place` BIGINT"),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a table is: what Flink calls a connector, and its options."""

    options: tuple[tuple[str, str], ...]
    lane: str
    """How the table tells the partition of an event: a type, and what else belongs to it."""
    place: str
    """The same for its offset."""

    def written(self) -> str:
        """Write the options."""
        return ",\n    ".join(f"{literal(key)} = {literal(value)}" for key, value in self.options)


def refusals(rule: Rule) -> tuple[Problem, ...]:
    """Tell what of a rule Flink SQL cannot say exactly: it is refused rather than said a little differently."""
    found = [Problem("spec", each) for each in (*judged.problems(rule), *unfit(rule))]
    for condition in rule.conditions:
        if isinstance(condition, judged.Linked | judged.Score):
            word = type(condition).__name__.lower()
            found.append(
                Problem("spec.condition", f"{word} cannot be said in Flink SQL: use engine: Embedded, or another one")
            )
    return tuple(found)


def statements(rule: Rule, source: Connection, sink: Connection, disorder: int = 2000) -> tuple[str, ...]:
    """Write a rule as statements that begin to judge with the last of them.

    Args:
        rule: What is judged by.
        source: Where the events are.
        sink: Where the verdicts go.
        disorder: Milliseconds by which arrivals on the topic may be out of order; what comes later is dropped.

    Raises:
        ValueError: The rule is refused; `refusals` says why.
    """
    if found := refusals(rule):
        raise ValueError("; ".join(map(str, found)))
    asked = [Asked(rule, place) for place in _different(rule)]
    answers = [_answer(each, rule.conditions[each.number]) for each in asked]
    return (
        *_settings(rule),
        events_table(source, disorder),
        _verdicts_table(sink),
        _fresh(rule),
        _seen(asked[0], answers),
        *(each for answer in answers for each in answer.views),
        *_combined(rule, asked),
        _insert(rule, asked),
    )


def events_table(source: Connection, disorder: int) -> str:
    """Write the table of events.

    Args:
        source: Where they are.
        disorder: Milliseconds by which arrivals on the topic may be out of order.
    """
    columns = [
        *_EVENT_COLUMNS,
        f"`lane` {source.lane}",
        f"`place` {source.place}",
        # A record without it is of long ago: it is dropped, where a missing time would stop the rule.
        "`tick` AS TO_TIMESTAMP_LTZ(COALESCE(`arrived`, 0), 3)",
        "`now` AS PROCTIME()",
        f"WATERMARK FOR `tick` AS `tick` - {interval(disorder)}",
    ]
    joined = ",\n    ".join(columns)
    return f"CREATE TEMPORARY TABLE {name(EVENTS)} (\n    {joined}\n) WITH (\n    {source.written()}\n)"


def script(written: List[str]) -> str:
    """Put statements into one file."""
    return "".join(f"{each};\n\n" for each in written).rstrip("\n") + "\n"


def _different(rule: Rule) -> list[int]:
    """Give the places of the conditions, of equal ones the first."""
    digests = rule.windows()
    return [place for place, each in enumerate(digests) if digests.index(each) == place]


def _answer(asked: Asked, condition: Condition) -> Answer:
    match condition:
        case judged.Count() | judged.Rate():
            return counted(asked, condition)
        case judged.Distinct():
            return distinct(asked, condition)
        case judged.Sum():
            return summed(asked, condition)
        case judged.Changes():
            return changes(asked, condition)
        case judged.Sequence():
            return sequence(asked, condition)
        case judged.AccountAge():
            return account_age(asked, condition)
        case judged.Speed():
            return speed(asked, condition)
        case _:
            raise ValueError(f"{type(condition).__name__} cannot be said in Flink SQL")


def _settings(rule: Rule) -> tuple[str, ...]:
    given = {
        "pipeline.name": f"fraud-{rule.name}",
        "table.local-time-zone": "UTC",
        # Only ids have no window that ends: they are forgotten after this, of the machine's time.
        "table.exec.state.ttl": f"{max(REMEMBER, rule.window) * 2:d} ms",
        # A partition on which nothing comes does not hold the others back.
        "table.exec.source.idle-timeout": "10 s",
    }
    return tuple(f"SET {literal(key)} = {literal(value)}" for key, value in given.items())


def _verdicts_table(sink: Connection) -> str:
    joined = ",\n    ".join(_VERDICT_COLUMNS)
    return f"CREATE TEMPORARY TABLE {name(VERDICTS)} (\n    {joined}\n) WITH (\n    {sink.written()}\n)"


def _fresh(rule: Rule) -> str:
    """Write the view of events that came for the first time, and in time."""
    identity = "CASE WHEN `id` = '' THEN CAST(`lane` AS STRING) || '/' || CAST(`place` AS STRING) ELSE '#' || `id` END"
    first = (
        f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {identity} ORDER BY `now`) AS `nth`, "
        f"LEAST(`time`, `arrived`) AS `happened`\n    FROM {name(EVENTS)}"
    )
    return view(
        "fresh",
        f"SELECT * FROM (\n    {first}\n) WHERE `nth` = 1 AND `happened` >= `arrived` - {rule.lateness:d}",
    )


def _seen(asked: Asked, answers: List[Answer]) -> str:
    """Write the view of what is read of each event, and whether it is to be judged."""
    rule = asked.rule
    keys = [f"{each} AS {name(column)}" for each, column in zip(key_of(rule), asked.keys, strict=True)]
    columns = ["`tick`", "`lane`", "`place`", "`arrived`", "`id`", "`happened`", *keys]
    columns += [column for answer in answers for column in answer.columns]
    read = ",\n        ".join([*columns, f"{means(rule.match)} AS `matches`"])
    there = " AND ".join(f"{name(each)} IS NOT NULL" for each in asked.keys)
    wanted = " OR ".join(name(each) for each in ("judged", *(each for answer in answers for each in answer.also)))
    return view(
        "seen",
        f"SELECT * FROM (\n    SELECT *, `matches` AND {there} AS `judged` FROM (\n        SELECT {read}\n"
        f"        FROM `fresh`\n    )\n) WHERE {wanted}",
    )


def _combined(rule: Rule, asked: List[Asked]) -> tuple[str, ...]:
    """Write the views that bring together what several conditions have found; the first one's figures are told."""
    if len(asked) == 1:
        return ()
    every = "\nUNION ALL\n".join(f"SELECT * FROM {name(each.own('found'))}" for each in asked)
    told = ", ".join(
        f"COALESCE({', '.join(f'MAX(CASE WHEN `rank` = {each.number:d} THEN {name(what)} END)' for each in asked)})"
        f" AS {name(what)}"
        for what in ("observed", "limit", "since", "saturated")
    )
    columns = listed(asked[0].event)
    having = f"\nHAVING COUNT(*) = {len(asked):d}" if rule.combine == "All" else ""
    together = (
        f"SELECT {columns}, {told}\nFROM {each_tick('every')}\nGROUP BY `window_start`, `window_end`, {columns}{having}"
    )
    return view("every", every), view("together", together)


def _insert(rule: Rule, asked: List[Asked]) -> str:
    source = asked[0].own("found") if len(asked) == 1 else "together"
    keys = ", ".join(map(name, asked[0].keys))
    return (
        f"INSERT INTO {name(VERDICTS)}\nSELECT {literal(rule.name)}, {literal(rule.version)}, `id`, `happened`, "
        f"ARRAY[{keys}], `observed`, `limit`, `since`, `saturated` = 1, "
        f"`lane`, `place`\nFROM {name(source)}"
    )
