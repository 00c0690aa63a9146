"""What the operator asks an event store about a rule's past, and what it answers. Pure; `runtime` carries it."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from flywheel.fraud.backtest import Trial
from flywheel.fraud.backtest_fields import Kept
from flywheel.fraud.backtest_found import Found
from flywheel.fraud.backtest_precision import MOST
from flywheel.fraud.backtest_told import notes, written
from flywheel.fraud.known_labels import KnownLabel
from flywheel.fraud.proof import Evidence

PATH = "/v1/fraud/backtest"
MOST_BODY = 4 << 20
"""Bytes of a question: a rule has up to 256 Ki characters, a label some hundred."""
Tally = Annotated[int, Meta(ge=0, le=1 << 53)]
"""What an answer says goes onto a status, which the API server takes only within these bounds."""
Brief = Annotated[str, Meta(max_length=316)]


class NotAsked(Exception):  # noqa: N818 - no mistake of ours
    """The past could not be asked. The text is for people."""


class NotUnderstood(Exception):  # noqa: N818 - nor this
    """An answer cannot be read."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
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
    labels: Annotated[tuple[KnownLabel, ...], Meta(max_length=MOST)] = ()
    """Who is known to be dishonest, and who not, as the fraud worker knows it."""


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
    evidence: Evidence | None = None
    """What the labels say of those whom the rule would have found; None where there were none to look at."""
    unlabelled: str = ""
    """Why nobody could be asked for labels; empty where somebody was."""

    @property
    def tried(self) -> tuple[str, int, tuple[str, ...]]:
        """What was tried: of one rule the same everywhere."""
        return self.path, self.current, tuple(each.limit for each in self.curve)


def answer_of(trial: Trial, found: Found, evidence: Evidence | None = None, stopped: int = 0) -> Answer:
    """Write down what was found.

    Args:
        trial: The rule and the past.
        found: What it would have found.
        evidence: What labels say of that.
        stopped: Labelled keys that do not count, as the rule has stopped them.
    """
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
        notes=(*notes(trial, found), *left_out(stopped)),
        evidence=evidence,
    )


def left_out(stopped: int) -> Iterator[str]:
    """Say how many labelled keys do not count, where there are any."""
    if stopped:
        yield f"{stopped} labelled keys do not count for precision: the rule has stopped them, so they show nothing"


def body_of(asked: Asked) -> bytes:
    """Write a question for `POST /v1/fraud/backtest`; of labels that are too long for it the latest."""
    while len(body := msgspec.json.encode(asked)) > MOST_BODY and asked.labels:
        asked = msgspec.structs.replace(asked, labels=asked.labels[: len(asked.labels) // 2])
    return body


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
    if answer.evidence is not None and not answer.evidence.precision.makes_sense:
        raise NotUnderstood("what labels say cannot be: more are dishonest than there are")
    return answer
