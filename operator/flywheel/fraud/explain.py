"""Sentences for people: what a rule has found, and what was done about it. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from flywheel.fraud.decisions import Decision
from flywheel.fraud.policy import Ruled
from flywheel.fraud.rule import (
    AccountAge,
    Changes,
    Condition,
    Count,
    Distinct,
    Linked,
    Match,
    Rate,
    Rule,
    Score,
    Speed,
    Sum,
)
from flywheel.fraud.rule import (
    Sequence as Steps,
)
from flywheel.fraud.words import ActionKind, Verdict

DONE = {
    "Off": "the rule is off",
    "Allowed": "an allow list names the sender",
    "Exempt": "the event is exempt",
    "Snoozed": "the key is snoozed",
    "Unprotected": "an allow list has never been read",
    "Watched": "a watch list names the sender",
    "HeldOut": "the key is held out, so that it stays known who is harmed",
    "Shadow": "the rule is in Shadow",
    "OutsideShare": "the key is outside the share that is enforced",
}

OUTCOMES: dict[ActionKind, str] = {
    "Block": "Blocked",
    "Challenge": "Challenged",
    "Throttle": "Throttled",
    "Review": "Reviewed",
    "Tag": "Tagged",
}


def explain(ruled: Ruled, verdict: Verdict, decision: Decision | None = None) -> str:
    """Say what broke which rule, in numbers, and what was done."""
    rule = ruled.rule
    who = " and ".join(f"{name} {value}" for name, value in zip(rule.key, verdict.key, strict=True))
    found = f"on the {verdict.listed.lower()} list {verdict.detail}" if verdict.listed else _found(rule, verdict)
    said = f"{who}: {found}, rule {rule.name} (version {verdict.version}), at {moment(verdict.at)}"
    if verdict.detail and not verdict.listed:
        said += f"; {verdict.detail}"
    if verdict.warming:
        said += "; the window was not yet full, so there may have been more"
    return f"{said}. {_done(decision)}" if decision else f"{said}."


def _found(rule: Rule, verdict: Verdict) -> str:
    joined = " or " if rule.combine == "Any" else " and "
    told = [limited(each, rule) for each in rule.conditions]
    return f"{_number(verdict)} where the limit is {joined.join(told)}"


def _number(verdict: Verdict) -> str:
    return f"{'at least ' if verdict.saturated else ''}{verdict.observed:g}"


def limited(condition: Condition, rule: Rule) -> str:
    """Say what a condition allows."""
    within = f"in {duration(rule.window)}"
    match condition:
        case Count():
            return f"{condition.more_than} of {events(rule.match)} {within}"
        case Rate():
            return f"{condition.more_than:g} of {events(rule.match)} in {duration(condition.per)}, on average {within}"
        case Distinct():
            return f"{condition.more_than} different values of {condition.field} {within}"
        case Sum():
            return f"{condition.more_than:g} for all of {condition.field} {within}"
        case Changes():
            return f"{condition.more_than} changes of {condition.field} {within}"
        case Linked():
            return f"{condition.more_than} of {condition.accounts} linked through {condition.through} {within}"
        case _:
            return _limited_otherwise(condition, rule)


def _limited_otherwise(condition: Condition, rule: Rule) -> str:
    match condition:
        case Speed():
            return f"{condition.kilometres_per_hour:g} kilometres per hour"
        case Score():
            return f"a score of {condition.more_than:g}"
        case AccountAge():
            return f"an account of at least {duration(condition.less_than)}, in milliseconds"
        case Steps():
            steps = ", then ".join(map(events, (*condition.steps, rule.match)))
            return f"{duration(condition.within)} from {steps}, in milliseconds"
        case _:
            raise ValueError(f"{type(condition).__name__} is no condition that can be told")


def events(match: Match) -> str:
    """Name the events that are meant."""
    return _listed(match.events) or _listed(match.types) or "any event"


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)


def _done(decision: Decision) -> str:
    because = f" ({decision.because})" if decision.because else ""
    if decision.action is None:
        would = f"; it would have been {decision.would}" if decision.would else ""
        return f"Nothing was done: {DONE[decision.done]}{because}{would}."
    until = f" until {moment(decision.until)}" if decision.until else ""
    scope = f" on {', '.join(decision.scope)}" if decision.scope else ""
    instead = f" instead of {decision.would}" if decision.would else ""
    instead += f": {DONE['Watched']}" if decision.done == "Watched" else ""
    return f"{decision.action}{scope}{until}{instead}{because}."


def outcome(decision: Decision) -> str:
    """Say in a word what followed from a verdict: `Blocked`, `Holdout`, `WouldBlock`."""
    if decision.action is not None:
        return OUTCOMES[decision.action]
    if decision.done in ("Shadow", "OutsideShare", "Unprotected"):
        return f"Would{decision.would}"
    return "Holdout" if decision.done == "HeldOut" else decision.done


def moment(time: int) -> str:
    """Write a time in milliseconds since 1970, as RFC 3339 in UTC."""
    written = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z").replace(".000Z", "Z")


def duration(milliseconds: int) -> str:
    """Write a duration as people do: `90s`, `10m`, `48h`, `7d`."""
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")):
        if milliseconds >= unit and milliseconds % unit == 0:
            return f"{milliseconds // unit}{name}"
    return f"{milliseconds}ms"
