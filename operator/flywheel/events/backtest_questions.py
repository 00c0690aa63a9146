"""What the operator asks for fraud rules: what one would have found in a Campaign's past."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from flywheel.api.load import InvalidResource, load_fraudrule
from flywheel.events.engine import Limits
from flywheel.events.questions import Kind
from flywheel.events.slot_questions import LATEST, LONGEST_EVENT, NAME
from flywheel.events.store import Store
from flywheel.fraud.backtest import Past, Trial, counts_statement, found_statement
from flywheel.fraud.backtest_asking import MOST_BODY, PATH, Answer, Asked, answer_of
from flywheel.fraud.backtest_fields import Untried
from flywheel.fraud.backtest_found import Found, found_of
from flywheel.fraud.backtest_precision import evidence_by_limit, precision_statement
from flywheel.fraud.known_labels import KnownLabel
from flywheel.fraud.proof import Evidence

BACKTEST = PATH
SECONDS = 30.0
"""Of the engine, for each of the three questions that make up a call, two of which are asked at the same time."""
MOST_ROWS = 10
LONGEST_PAST = 91 * 86_400_000
"""Milliseconds."""


def backtest_questions(store: Store) -> Kind[Asked]:
    """Make the handler of `POST /v1/fraud/backtest`."""

    async def figures(asked: Asked) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(await _tried(store, asked))
        return found

    return Kind(Asked, _complaint, figures, MOST_BODY)


async def _tried(store: Store, asked: Asked) -> Answer:
    past = Past(asked.campaign, asked.since, asked.until, asked.order, asked.addresses)
    try:
        trial = Trial(load_fraudrule(asked.rule), past)
    except Untried as error:
        return Answer(untried=str(error))
    found = await find(store, trial)
    if not asked.labels:
        return answer_of(trial, found)
    return answer_of(trial, found, *await know(store, trial, found, asked.labels))


async def find(store: Store, trial: Trial) -> Found:
    """Ask the store what a rule would have found."""
    limits = Limits(seconds=SECONDS, rows=MOST_ROWS)
    counts, found = counts_statement(trial), found_statement(trial)
    # Side by side: the windows of the one keep a single core busy for half of the time.
    answers = await asyncio.gather(
        store.query(counts.sql, counts.parameters, limits), store.query(found.sql, found.parameters, limits)
    )
    return found_of(trial, *answers)


async def know(store: Store, trial: Trial, found: Found, labels: Sequence[KnownLabel]) -> tuple[Evidence, int]:
    """Ask the store what labels say of those whom a rule would have found, and how many of them do not count."""
    keys = [each.keys for each in found.curve]
    if not found.own.keys:
        return evidence_by_limit(trial, [], keys)[found.current]
    statement = precision_statement(trial, labels)
    rows = await store.query(statement.sql, statement.parameters, Limits(seconds=SECONDS, rows=MOST_ROWS))
    return evidence_by_limit(trial, rows, keys)[found.current]


def _complaint(asked: Asked) -> str | None:
    if not NAME.fullmatch(asked.campaign):
        return "`campaign` is the name of a Campaign."
    if not 0 <= asked.since < asked.until < LATEST or asked.until - asked.since > LONGEST_PAST:
        return "`since` and `until` are moments in milliseconds since 1970, the one before the other, 90 days at most."
    if not 0 < len(asked.order) <= LONGEST_EVENT:
        return f"`order` is the name of an event, of 1 to {LONGEST_EVENT} characters."
    try:
        load_fraudrule(asked.rule)
    except InvalidResource as error:
        return f"`rule` is no FraudRule that this version knows: {error}"
    return None
