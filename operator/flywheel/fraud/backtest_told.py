"""What a back-test has found, in words for people and as a document for programs. Pure."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from flywheel.fraud.backtest import Trial
from flywheel.fraud.backtest_found import Found, Point, Sample
from flywheel.fraud.backtest_limits import Limits
from flywheel.fraud.proof import Share

NOTHING_FOUND = "No limit that was tried finds anything."
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"))


class Counted(Protocol):
    """What one limit finds."""

    @property
    def hits(self) -> int:
        """Events."""

    @property
    def keys(self) -> int:
        """Keys of these events."""

    @property
    def customers(self) -> int:
        """Visitors of these keys who have paid for an order."""


def limit_text(limits: Limits, value: float) -> str:
    """Write a limit, or what was measured, as in a rule: 20, 99.5, 10m."""
    if math.isinf(value):
        return "any"
    if limits.is_time:
        return _span(value)
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"


def written(limits: Limits, limit: float) -> str:
    """Write a limit exactly as a rule takes it: 5000, 99.5, 90s."""
    if not limits.is_time:
        return f"{limit:.0f}" if limit == round(limit) else f"{limit:.10g}"
    length, unit = next(each for each in (*_UNITS, (1, "ms")) if limit % each[0] == 0)
    return f"{limit / length:.0f}{unit}"


def _span(milliseconds: float) -> str:
    for length, unit in _UNITS:
        if milliseconds >= length:
            return f"{milliseconds / length:.3g}{unit}"
    return f"{milliseconds:.0f}ms"


def shown(found: Found) -> tuple[Point, ...]:
    """Give the part of the curve that tells something: up to the first limit that finds nothing, and the rule's own."""
    last = next((n for n, each in enumerate(found.curve) if not each.hits), len(found.curve) - 1)
    return found.curve[: max(last, found.current) + 1]


def advice(trial: Trial, found: Found) -> str:
    """Say in one sentence what follows for the limit."""
    best = found.recommended
    if not any(each.hits for each in found.curve):
        return NOTHING_FOUND
    return advise(trial.limits.path, found.own, best, limit_text(trial.limits, best.limit) if best else "")


def advise(path: str, own: Counted, best: Counted | None, text: str) -> str:
    """Say what follows for a limit, where any finds something.

    Args:
        path: Where the limit is, below the rule's spec.
        own: What the rule's own limit finds.
        best: What the recommended one finds; None where there is none.
        text: How that one is written.
    """
    if best is None:
        return (
            f"Each limit of {path} that finds anything hits customers: ask for something beside it, "
            "with all, or look at another key."
        )
    if best is own:
        return f"Of those tried it finds most without hitting a customer: keep {path}: {text}."
    if own.customers:
        return f"{path}: {text} finds most without hitting a customer: {_finds(best)}."
    return f"{path}: {text} finds more, and hits no customer either: {_finds(best)}."


def _finds(point: Counted) -> str:
    return f"{_count(point.hits, 'hit')} of {_count(point.keys, 'key')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def notes(trial: Trial, found: Found) -> Iterator[str]:
    """Say what the figures do not tell, each a sentence without its full stop."""
    spec = trial.rule.spec
    if not found.events:
        yield "no event of that time matches: look at the names of events and at the filters of match, or further back"
        return
    for name, count in found.lacking.items():
        if count == found.events:
            yield f"none of the events has {name} in the store, so nothing can be found: {_why_lacking(name)}"
        elif count:
            yield f"{count:,} of the events have no {name} in the store and were not judged"
    if found.late:
        yield f"{found.late:,} of the events came later than lateness and were not judged, as they are not live"
    if found.exempt:
        exempt = _count(found.exempt, "exempt event")
        yield f"{exempt} would have broken the rule as well, and nothing would have followed from that"
    if found.nameless:
        yield f"{found.nameless:,} of the hits have no visitor, so whether they are of customers is not known"
    if spec.lists.allow or spec.lists.deny or spec.lists.watch:
        yield "lists are not looked at: it is told who breaks the rule, not who is stopped"
    if spec.snoozes:
        yield "snoozes are not looked at"


def _why_lacking(name: str) -> str:
    if name == "addressPrefix":
        return "the campaign keeps hashes of addresses, or none (edge.events.addresses)"
    if name == "address":
        return "the campaign keeps no addresses (edge.events.addresses)"
    return "nobody sent it"


def precision_text(share: Share) -> str:
    """Say how right a rule would have been."""
    return (
        f"{share.value:.1%} of the keys that it would have found are dishonest, and with 95% between {share.low:.1%} "
        f"and {share.high:.1%}"
    )


def document(
    trial: Trial, found: Found, shares: Sequence[Share | None] = (), lacks: Sequence[str] = ()
) -> dict[str, Any]:
    """Give all of it for JSON; moments and times in milliseconds, shares from 0 to 1.

    Args:
        trial: The rule and the past.
        found: Whom it would have found.
        shares: How right each of the limits would have been; empty where there are no labels.
        lacks: What is not known of that.
    """
    best = found.recommended
    known = shares or [None] * len(found.curve)
    return {
        "rule": trial.rule.name,
        "campaign": trial.past.campaign,
        "since": trial.past.start,
        "until": trial.past.end,
        "events": found.events,
        **_point(found.own, known[found.current]),
        "late": found.late,
        "lacking": dict(found.lacking),
        "nameless": found.nameless,
        "exempt": found.exempt,
        "path": trial.limits.path,
        "curve": [_point(each, share) for each, share in zip(found.curve, known, strict=True)],
        "recommended": best.limit if best else None,
        "samples": [_sample(each) for each in found.samples],
        "notes": [*notes(trial, found), *lacks],
    }


def _point(point: Point, share: Share | None) -> dict[str, Any]:
    return {
        "limit": point.limit,
        "hits": point.hits,
        "keys": point.keys,
        "visitors": point.visitors,
        "customers": point.customers,
        **({"precision": _share(share)} if share else {}),
    }


def _share(share: Share) -> dict[str, Any]:
    return {"value": share.value, "low": share.low, "high": share.high, "labels": share.labels}


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "event": sample.id,
        "at": sample.happened,
        "key": list(sample.key),
        "visitor": sample.visitor,
        # Where another condition was met alone, there is nothing to tell of this one.
        "observed": None if math.isinf(sample.observed) else sample.observed,
    }
