"""What the operator asks an event store about a rule's past, and what it answers. Pure; `runtime` carries it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from flywheel.fraud.backtest import Trial
from flywheel.fraud.backtest_fields import Kept
from flywheel.fraud.backtest_found import Found
from flywheel.fraud.backtest_told import notes, written

PATH = "/v1/fraud/backtest"
Tally = Annotated[int, Meta(ge=0, le=1 << 53)]
"""What an answer says goes onto a status, which the API server takes only within these bounds."""
Brief = Annotated[str, Meta(max_length=316)]


class NotAsked(Exception):  # noqa: N818 - no mistake of ours
    """The past could not be asked. The text is for people."""


class NotUnderstood(Exception):  # noqa: N818 - nor this
    """An answer cannot be read."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of the question: one rule, and the past of one Campaign."""

    campaign: str
    since: int
    """Milliseconds since 1970; included. Windows look back beyond it."""
    until: int
    """Excluded."""
    rule: dict[str, Any]
    """The FraudRule, as an object of the API."""
    order: str = "Order Completed"
    """The event by which visitors pay."""
    addresses: Kept = "Hash"
    """What the Campaign keeps of addresses."""


class LimitTold(msgspec.Struct, frozen=True, kw_only=True):
    """What one limit finds."""

    limit: Brief
    """As a rule takes it, such as 20 or 90s."""
    hits: Tally
    keys: Tally
    visitors: Tally
    customers: Tally


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the past says."""

    untried: str = ""
    """Why it cannot tell; all else is empty then."""
    events: Tally = 0
    path: Brief = ""
    """The limit that is varied, below the rule's spec."""
    curve: Annotated[tuple[LimitTold, ...], Meta(max_length=32)] = ()
    """By limit: each finds less than the one before, or as much."""
    current: Tally = 0
    """Which of them is the rule's own."""
    notes: tuple[str, ...] = ()
    """What the figures do not tell: sentences without their full stops."""

    @property
    def tried(self) -> tuple[str, int, tuple[str, ...]]:
        """What was tried: of one rule the same everywhere."""
        return self.path, self.current, tuple(each.limit for each in self.curve)


def answer_of(trial: Trial, found: Found) -> Answer:
    """Write down what was found."""
    curve = (
        LimitTold(
            limit=written(trial.limits, each.limit),
            hits=each.hits,
            keys=each.keys,
            visitors=each.visitors,
            customers=each.customers,
        )
        for each in found.curve
    )
    return Answer(
        events=found.events,
        path=trial.limits.path,
        curve=tuple(curve),
        current=found.current,
        notes=tuple(notes(trial, found)),
    )


def body_of(asked: Asked) -> bytes:
    """Write a question for `POST /v1/fraud/backtest`."""
    return msgspec.json.encode(asked)


def read_answer(body: bytes) -> Answer:
    """Read what the store says.

    Raises:
        NotUnderstood: It cannot be read, or makes no sense.
    """
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotUnderstood(str(error)) from None
    if not answer.untried and answer.current >= len(answer.curve):
        raise NotUnderstood("the rule's own limit is not among those of the answer")
    return answer
