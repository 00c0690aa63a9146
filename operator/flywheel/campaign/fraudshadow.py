"""Shadow first: a model that nobody has seen at work stops nobody, whatever the rule's mode says. Pure.

A digest says that a file is the one that somebody has tested; it does not say that the test was like the crowd at the
campaign's door. So each new digest is watched for a while by the one who will be responsible. The time alone would not
do for a rule that seldom matches, nor the events alone in a rush, where a thousand come within a second.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flywheel.api.fraudrule import FraudRule

ENOUGH: tuple[tuple[timedelta, int], ...] = ((timedelta(hours=1), 1000), (timedelta(hours=24), 100))
"""So long in Shadow, and so many events judged: one of these has to be so."""
RECORD = "models"
"""Where it stands in `status.record`."""


def digests_of(rule: FraudRule) -> tuple[str, ...]:
    """Give the models that a rule asks, each once."""
    found = (sign.score.model.digest for sign in rule.spec.condition.signs if sign.score)
    return tuple(dict.fromkeys(found))


def watched(rule: FraudRule, status: Mapping[str, Any], now: datetime) -> str:
    """Say why a rule that is to be enforced is in Shadow; empty where it is not for this reason.

    Args:
        rule: The rule.
        status: As it was told last: what is remembered of its models stands in it.
        now: The time.
    """
    if rule.spec.mode != "Enforce":
        return ""
    known = _known(status)
    for digest in digests_of(rule):
        seen = known.get(digest)
        if seen is None:
            return f"the model {digest} has not judged anything yet: Shadow first, for {_wanted()}"
        if not _is_enough(seen, int(status.get("evaluated") or 0), now):
            judged = _judged(seen, int(status.get("evaluated") or 0))
            return f"the model {digest} has judged {judged} events since {seen['since']}: Shadow first, for {_wanted()}"
    return ""


def remembered(rule: FraudRule, status: Mapping[str, Any], evaluated: int | None, now: datetime) -> dict[str, Any]:
    """Give what is to be remembered of a rule's models; empty where there is nothing.

    Args:
        rule: The rule.
        status: As it was told last.
        evaluated: How many events the rule has judged; None while a worker lacks the rule or a model.
        now: The time.
    """
    known, found = _known(status), dict[str, Any]()
    for digest in digests_of(rule) if rule.spec.mode != "Off" else ():
        seen = known.get(digest)
        if seen is None and evaluated is not None:
            seen = {"since": _written(now), "from": evaluated}
        if seen is not None:
            found[digest] = {**seen, "enough": True} if _is_enough(seen, evaluated or 0, now) else dict(seen)
    return found


def _known(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (status.get("record") or {}).get(RECORD) or {}
    # Whoever has edited it begins anew.
    return {digest: seen for digest, seen in found.items() if _is_readable(seen)}


def _is_readable(seen: object) -> bool:
    if not isinstance(seen, dict) or not isinstance(seen.get("from"), int):
        return False
    try:
        return datetime.fromisoformat(str(seen.get("since"))).tzinfo is not None
    except ValueError:
        return False


def _judged(seen: Mapping[str, Any], evaluated: int) -> int:
    # A worker that lost its volume counts from 0 again.
    return evaluated - int(seen["from"]) if evaluated >= seen["from"] else evaluated


def _is_enough(seen: Mapping[str, Any], evaluated: int, now: datetime) -> bool:
    if seen.get("enough") is True:
        return True
    since, judged = datetime.fromisoformat(seen["since"]), _judged(seen, evaluated)
    return any(now - since >= time and judged >= events for time, events in ENOUGH)


def _wanted() -> str:
    return " or ".join(f"{time // timedelta(hours=1)}h and {events} events" for time, events in ENOUGH)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
