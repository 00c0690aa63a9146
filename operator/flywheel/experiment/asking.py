"""What the operator asks the event store of a test, and what it answers. Pure; `runtime` carries it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, Protocol

import msgspec

from flywheel.experiment.plan import Questions
from flywheel.insight.arm_sums import PartFigures
from flywheel.insight.arms import Amount, ArmFigures, Outcome

PATH = "/v1/arms"


class NotAsked(Exception):  # noqa: N818 - no mistake of ours
    """The figures could not be had. The text is for people."""


class NotUnderstood(Exception):  # noqa: N818 - nor this
    """An answer cannot be read."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one test."""

    namespace: str
    campaign: str
    test: str
    since: datetime
    """First exposures count from here."""
    until: datetime
    """Nothing later counts."""
    within: int
    """Milliseconds after an exposure in which events count."""
    questions: Questions
    batches: tuple[datetime, ...] = ()
    """Beginnings of the times whose new visitors are told apart."""
    steps: tuple[datetime, ...] = ()
    """Moments at which the sums are told as they were."""
    days: bool = False
    """Whether the visitors of each day are told apart."""
    offset: int = 0
    """Minutes by which the days' midnights lie before those of Greenwich."""
    causes: bool = False
    """Whether exposures are told by what is known of them."""


class Step(msgspec.Struct, frozen=True):
    """The sums as they were at a moment."""

    at: int
    arms: dict[str, PartFigures]


class Day(msgspec.Struct, frozen=True):
    """The sums of the visitors who came on a day."""

    day: str
    arms: dict[str, PartFigures]


class Answers(msgspec.Struct, frozen=True):
    """What the store says."""

    arms: dict[str, ArmFigures]
    batches: list[dict[str, PartFigures]] = []
    series: list[Step] = []
    days: list[Day] = []
    causes: dict[str, dict[str, dict[str, int]]] = {}
    """Dimension -> value -> arm -> visitors."""


class ArmsStore(Protocol):
    """Whoever can be asked."""

    async def ask(self, question: Question) -> Answers:
        """Ask for the sums of every arm.

        Raises:
            NotAsked: The store cannot be reached, refuses, or answers what cannot be read.
        """


def body_of(question: Question) -> bytes:
    """Write a question for `POST /v1/arms`."""
    since = milliseconds(question.since)
    body: dict[str, Any] = {
        "campaign": question.campaign,
        "test": question.test,
        "since": since,
        "until": max(milliseconds(question.until), since + 1),
        "within": question.within,
        "outcomes": [_outcome(each) for each in question.questions.outcomes],
        "requests": question.questions.requests,
        "batches": [milliseconds(each) for each in question.batches],
        "steps": [milliseconds(each) for each in question.steps],
        "days": question.days,
        "offset": question.offset,
        "causes": question.causes,
    }
    return msgspec.json.encode(body)


def read_answers(body: bytes) -> Answers:
    """Read what the store says.

    Raises:
        NotUnderstood: It cannot be read.
    """
    try:
        return msgspec.json.decode(body, type=Answers, strict=False)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotUnderstood(str(error)) from None


def milliseconds(moment: datetime) -> int:
    """Write a moment as the store counts."""
    return int(moment.timestamp() * 1000)


def as_arms(parts: Mapping[str, PartFigures]) -> dict[str, ArmFigures]:
    """Give the sums of a part of the visitors the form of those of all."""
    return {name: ArmFigures(visitors=each.visitors, outcomes=(each.sums,)) for name, each in parts.items()}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    asked: dict[str, Any] = {"amount": _amount(outcome.amount), "history": outcome.history}
    if outcome.over is not None:
        asked["over"] = _amount(outcome.over)
    if outcome.winsorise is not None:
        asked["winsorise"] = outcome.winsorise
    return asked


def _amount(amount: Amount) -> dict[str, Any]:
    asked: dict[str, Any] = {"event": amount.event, "of": amount.of, "name": amount.name}
    return asked | ({"cap": amount.cap} if isfinite(amount.cap) else {})
