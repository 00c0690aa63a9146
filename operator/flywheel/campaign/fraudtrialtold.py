"""What the status of a FraudRule tells of back-tests. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from flywheel.campaign.conditions import Condition, timestamp
from flywheel.campaign.fraudplan import Judged
from flywheel.campaign.fraudproof import figure_of
from flywheel.campaign.fraudtrial import RECORD, LastTry, Order, Outcome, last_try, pause_after, record_of
from flywheel.campaign.fraudtrialproof import evidence_of, noted, noted_before
from flywheel.fraud.backtest_asking import Answer, LimitTold
from flywheel.fraud.backtest_precision import precision_in_the_past
from flywheel.fraud.backtest_told import NOTHING_FOUND, advise
from flywheel.plan import Manifest

SENTENCE = 1024
"""Characters of a text on a status."""


@dataclass(frozen=True, slots=True)
class TrialTold:
    """What a status says of back-tests."""

    condition: Condition | None = None
    backtest: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None

    own: ClassVar[tuple[str, ...]] = ("backtest", "record")
    """The fields of a status that this is about."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The statement, where there is one."""
        return (self.condition,) if self.condition else ()

    @property
    def fields(self) -> Manifest:
        """The fields of the status that are not empty."""
        return {name: dict(value) for name in self.own if (value := getattr(self, name))}


def told_of(judged: Judged, held: Mapping[str, Any], outcome: Outcome | None, now: datetime) -> TrialTold:
    """Say what a status tells of back-tests.

    Args:
        judged: The rule.
        held: The status so far.
        outcome: What came of a trial just now; None where none has ended.
        now: The time.
    """
    rest = {name: value for name, value in (held.get("record") or {}).items() if name != RECORD}
    if judged.rule.spec.backtest is None:
        return TrialTold(record=rest)
    before = held.get("backtest")
    if outcome is not None:
        return _told_anew(outcome, before, held, rest, now)
    kept = TrialTold(_waiting(judged, held), before, held.get("record"))
    return TrialTold(None, kept.backtest, kept.record) if judged.problems else kept


def _waiting(judged: Judged, held: Mapping[str, Any]) -> Condition:
    generation, last = judged.rule.metadata.generation, last_try(held)
    known = next((each for each in held.get("conditions") or () if each.get("type") == "Backtested"), None)
    if known and last.generation == generation:
        return Condition("Backtested", known["status"], known["reason"], known["message"])
    if judged.is_waiting:
        told = "none of its campaigns is open now, so there is no past to try it on"
        return Condition("Backtested", "Unknown", "Waiting", told)
    told = "the latest spec has not been tried on the past yet"
    if last.generation:
        told += f"; status.backtest is about generation {last.generation}"
    return Condition("Backtested", "Unknown", "NotTried", told)


def _told_anew(
    outcome: Outcome, before: Mapping[str, Any] | None, held: Mapping[str, Any], rest: Manifest, now: datetime
) -> TrialTold:
    order, answers, last = outcome.order, outcome.answers, last_try(held)
    if outcome.failure:
        failures = last.failures + 1 if last.generation == order.generation else 1
        tried = LastTry(order.generation, now, failures)
        again = timestamp(now + pause_after(tried))
        record = noted_before(rest | record_of(tried), held)
        said = f"{_cut(outcome.failure, SENTENCE - 64)}; it is tried again after {again}"
        return TrialTold(Condition("Backtested", "Unknown", "NotAnswered", said), before, record)
    is_short = not any(each.events for each in answers) or any(each.unlabelled for each in answers)
    record = rest | record_of(LastTry(order.generation, now, empty=is_short))
    if any(each.unlabelled for each in answers):
        record = noted_before(record, held)
    told = {
        "generation": order.generation,
        "at": timestamp(now),
        "since": _moment(order.questions[0].since, now),
        "until": _moment(order.questions[0].until, now),
    }
    pairs = zip(order.questions, answers, strict=True)
    untried = next((f"Campaign {asked.campaign}: {each.untried}" for asked, each in pairs if each.untried), "")
    if untried:
        said = _cut(f"it cannot be tried on the past: {untried}", SENTENCE)
        return TrialTold(Condition("Backtested", "False", "NotTriable", said), told | {"message": said}, record)
    return _found(order, answers, told, record)


def _found(order: Order, answers: Sequence[Answer], told: Manifest, record: Manifest) -> TrialTold:
    first, events = answers[0], sum(each.events for each in answers)
    curve = tuple(_summed(points) for points in zip(*(each.curve for each in answers), strict=True))
    own = curve[first.current]
    best = next((each for each in curve if each.hits and not each.customers), None)
    advice = advise(first.path, own, best, best.limit if best else "") if any(each.hits for each in curve) else ""
    notes = dict.fromkeys(_notes(order, answers))
    told |= {
        "events": events,
        "hits": own.hits,
        "keys": own.keys,
        "customers": own.customers,
        "curve": [_point(each) for each in curve],
        "message": _cut(" ".join([advice or NOTHING_FOUND, *(f"{note}." for note in notes)]), SENTENCE),
    }
    if best:
        told["recommended"] = best.limit
    evidence = evidence_of(answers)
    share = precision_in_the_past(evidence) if evidence else None
    if share:
        told["precision"] = figure_of(share)
    said = (
        f"from {told['since']} to {told['until']} {events} events match; {own.hits} would have broken the rule, of "
        f"{own.keys} keys with {own.visitors} visitors, {own.customers} of whom have paid for an order"
    )
    return TrialTold(Condition("Backtested", "True", "Tried", said), told, noted(record, evidence))


def _notes(order: Order, answers: Sequence[Answer]) -> list[str]:
    notes = []
    several = len(answers) > 1
    if several:
        names = ", ".join(each.campaign for each in order.questions)
        notes.append(f"the figures are sums over the Campaigns {names}, each of which counts for itself")
    if order.left_out:
        notes.append(f"{order.left_out} more Campaigns were not asked about")
    for asked, answer in zip(order.questions, answers, strict=True):
        unknown = f"precision is not told, as nobody could be asked for labels: {answer.unlabelled}"
        told = (*answer.notes, unknown) if answer.unlabelled else answer.notes
        notes += [f"{asked.campaign}: {note}" if several else note for note in told]
    return notes


def _summed(points: Sequence[LimitTold]) -> LimitTold:
    return LimitTold(
        limit=points[0].limit,
        hits=sum(each.hits for each in points),
        keys=sum(each.keys for each in points),
        visitors=sum(each.visitors for each in points),
        customers=sum(each.customers for each in points),
    )


def _point(point: LimitTold) -> Manifest:
    return {"moreThan": point.limit, "hits": point.hits, "keys": point.keys, "customers": point.customers}


def _moment(milliseconds: int, now: datetime) -> str:
    return timestamp(datetime.fromtimestamp(milliseconds / 1000, now.tzinfo))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
