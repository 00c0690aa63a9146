"""When the operator tries a FraudRule on the past, and what it asks then. Pure.

Each generation of a rule is tried once, and again each day, as the past grows; while the event store cannot be asked,
again and again with growing pauses. All that this goes on from is on the rule's status, so an operator that is killed
in between tries once more, and nothing else is lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.campaign.conditions import timestamp
from flywheel.campaign.fraudplan import Judged
from flywheel.campaign.fraudrules import campaigns_of
from flywheel.fraud.backtest_asking import Answer, Asked
from flywheel.plan import Manifest

AGAIN_AFTER = timedelta(days=1)
AGAIN_WHILE_EMPTY = timedelta(hours=1)
"""Where no event matched, as a campaign that has just opened has no past yet; or nobody could be asked for labels."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
MOST_CAMPAIGNS = 8
"""Of one rule that are asked about; the others are named as left out."""
RECORD = "backtest"
"""What of `status.record` this is."""


@dataclass(frozen=True, slots=True)
class LastTry:
    """What is known of the last time that a rule was tried."""

    generation: int = 0
    """Of the rule; 0 where it was never tried."""
    at: datetime | None = None
    failures: int = 0
    """Since the store was last heard of."""
    empty: bool = False
    """No event matched, or nobody could be asked for labels."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked at one trial: a question for each Campaign."""

    namespace: str
    rule: str
    uid: str
    generation: int
    questions: tuple[Asked, ...]
    left_out: int = 0
    """Campaigns beyond those."""

    @property
    def identity(self) -> tuple[str, str, int]:
        """By what an order is known again, whenever it was written."""
        return self.rule, self.uid, self.generation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order: an answer to each of its questions, or why there is none."""

    order: Order
    answers: tuple[Answer, ...] = ()
    failure: str = ""


def outcome_of(order: Order, answers: Sequence[Answer]) -> Outcome:
    """Put the answers to an order together."""
    tried = {each.tried for each in answers if not each.untried}
    if len(answers) != len(order.questions) or len(tried) > 1:
        return Outcome(order, failure="the answers about its Campaigns are not of one rule")
    return Outcome(order, tuple(answers))


class Trials(Protocol):
    """Who carries orders out, while other things go on."""

    def look(self, namespace: str, orders: Sequence[Order]) -> Mapping[str, Outcome]:
        """Begin what has not begun, and give what is done, by rule. What is not ordered any more is forgotten."""


class NoTrials:
    """Nobody."""

    def look(self, namespace: str, orders: Sequence[Order]) -> Mapping[str, Outcome]:
        """Do nothing."""
        return {}


def last_try(held: Mapping[str, Any]) -> LastTry:
    """Read off a status when its rule was last tried; what cannot be read is as never."""
    record = (held.get("record") or {}).get(RECORD)
    if not isinstance(record, Mapping):
        return LastTry()
    generation, failures = record.get("generation"), record.get("failures", 0)
    try:
        at = datetime.fromisoformat(str(record.get("at")))
    except ValueError:
        return LastTry()
    if type(generation) is not int or type(failures) is not int or at.tzinfo is None:
        return LastTry()
    return LastTry(generation, at, max(0, failures), record.get("empty") is True)


def is_due(last: LastTry, generation: int, now: datetime) -> bool:
    """Tell whether a rule is to be tried now.

    Args:
        last: When it was tried last.
        generation: Of the rule as it is now.
        now: The time.
    """
    if last.at is None or last.generation != generation:
        return True
    # A clock that went back does not put it off.
    return not last.at <= now < last.at + pause_after(last)


def pause_after(last: LastTry) -> timedelta:
    """Give how long a rule is left alone after a trial."""
    if last.failures:
        return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(last.failures - 1, 16)))
    return AGAIN_WHILE_EMPTY if last.empty else AGAIN_AFTER


def orders_of(
    judged: Iterable[Judged], manifests: Mapping[str, Manifest], campaigns: Sequence[Campaign], now: datetime
) -> list[Order]:
    """Write the orders for all rules of a namespace that are to be tried now.

    Args:
        judged: The rules.
        manifests: The same by name, as the API server holds them.
        campaigns: Those of the namespace.
        now: The time.
    """
    found = []
    for each in judged:
        manifest = manifests[each.rule.name]
        last = last_try(manifest.get("status") or {})
        if each.problems or each.is_waiting or not is_due(last, each.rule.metadata.generation, now):
            continue
        order = order_of(each.rule, manifest, campaigns_of(each.rule, campaigns), now)
        if order is not None:
            found.append(order)
    return found


def order_of(rule: FraudRule, manifest: Manifest, campaigns: Sequence[Campaign], now: datetime) -> Order | None:
    """Write the order for a trial; None where the rule wants none, or there is no Campaign to ask about.

    Args:
        rule: The rule.
        manifest: The same as the API server holds it.
        campaigns: Those that it is about.
        now: Up to when is looked.
    """
    if rule.spec.backtest is None or not campaigns:
        return None
    metadata = manifest["metadata"]
    sent = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {"name": metadata["name"]},
        "spec": manifest["spec"],
    }
    until = round(now.timestamp() * 1000)
    since = until - round(rule.spec.backtest.since.total_seconds() * 1000)
    return Order(
        namespace=metadata["namespace"],
        rule=rule.name,
        uid=metadata["uid"],
        generation=rule.metadata.generation,
        questions=tuple(_question(each, sent, since, until) for each in campaigns[:MOST_CAMPAIGNS]),
        left_out=len(campaigns[MOST_CAMPAIGNS:]),
    )


def _question(campaign: Campaign, rule: Manifest, since: int, until: int) -> Asked:
    return Asked(
        campaign=campaign.name,
        since=since,
        until=until,
        rule=rule,
        order=(campaign.spec.analytics or Analytics()).order.event,
        addresses=campaign.spec.edge.events.addresses if campaign.spec.edge else "Hash",
    )


def record_of(tried: LastTry) -> Manifest:
    """Write down what `last_try` reads."""
    told: Manifest = {"generation": tried.generation, "at": timestamp(tried.at) if tried.at else ""}
    if tried.failures:
        told["failures"] = tried.failures
    if tried.empty:
        told["empty"] = True
    return {RECORD: told}
