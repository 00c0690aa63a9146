"""What the operator asks for A/B tests: sums over the visitors of each arm."""

import math
from typing import Any, Literal

import msgspec

from flywheel.events.engine import Limits
from flywheel.events.questions import Kind
from flywheel.events.slot_questions import LATEST, LONGEST_EVENT, NAME
from flywheel.events.store import Store
from flywheel.insight.arms import (
    MOST_OUTCOMES,
    Amount,
    ArmScope,
    Outcome,
    exposures_statement,
    latencies_statement,
    outcomes_statement,
    requests_statement,
    shape,
)
from flywheel.insight.kpi import Statement

ARMS = "/v1/arms"
SECONDS = 15.0
"""Of the engine, for one of the four questions."""
MOST_ROWS = 8_000
LONGEST_TEST = 400 * 86_400_000
"""Milliseconds."""


class AmountAsked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A number from the events of one name of a visitor."""

    event: str
    of: Literal["Any", "Count", "Revenue", "Property"] = "Any"
    name: str = ""
    cap: float | None = None

    def amount(self) -> Amount:
        """Give it in the words of the query."""
        return Amount(self.event, self.of, self.name, math.inf if self.cap is None else self.cap)


class OutcomeAsked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is summed up of each visitor."""

    amount: AmountAsked
    over: AmountAsked | None = None
    history: int = 0


class ArmsAsked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which sums are wanted."""

    campaign: str
    test: str
    since: int
    """Milliseconds since 1970; included."""
    until: int
    """Excluded."""
    within: int
    """Milliseconds after a visitor's exposure in which events count."""
    outcomes: list[OutcomeAsked]
    requests: bool = False
    """Also errors and latencies."""


def arm_questions(store: Store) -> Kind[ArmsAsked]:
    """Make the handler of `POST /v1/arms`."""

    async def ask(statement: Statement) -> list[dict[str, Any]]:
        limits = Limits(seconds=SECONDS, rows=MOST_ROWS)
        return await store.query(statement.sql, statement.parameters, limits)

    async def figures(asked: ArmsAsked) -> dict[str, Any]:
        scope = _scope(asked)
        exposures = await ask(exposures_statement(scope))
        outcomes = await ask(outcomes_statement(scope)) if exposures else []
        wanted = asked.requests and exposures
        requests = await ask(requests_statement(scope)) if wanted else []
        latencies = await ask(latencies_statement(scope)) if wanted else []
        found = shape(scope, exposures, outcomes, requests, latencies)
        return {"arms": {arm: msgspec.to_builtins(each, str_keys=True) for arm, each in found.items()}}

    return Kind(ArmsAsked, _complaint, figures)


def _scope(asked: ArmsAsked) -> ArmScope:
    outcomes = tuple(
        Outcome(each.amount.amount(), each.over.amount() if each.over else None, each.history)
        for each in asked.outcomes
    )
    return ArmScope(asked.campaign, asked.test, asked.since, asked.until, asked.within, outcomes)


def _complaint(asked: ArmsAsked) -> str | None:
    if not NAME.fullmatch(asked.campaign) or not NAME.fullmatch(asked.test):
        return "`campaign` and `test` are names of a Campaign and of one of its tests."
    if not 0 <= asked.since < asked.until < LATEST or asked.until - asked.since > LONGEST_TEST:
        return "`since` and `until` are moments in milliseconds since 1970, the one before the other, 400 days at most."
    if not 0 < asked.within <= LONGEST_TEST:
        return "`within` is a number of milliseconds above 0, 400 days at most."
    if not 0 < len(asked.outcomes) <= MOST_OUTCOMES:
        return f"1 to {MOST_OUTCOMES} outcomes are summed up at once."
    return next((told for each in asked.outcomes if (told := _trouble(each))), None)


def _trouble(asked: OutcomeAsked) -> str | None:
    for amount in (asked.amount, asked.over):
        if amount is None:
            continue
        if not 0 < len(amount.event) <= LONGEST_EVENT or len(amount.name) > LONGEST_EVENT:
            return f"The names of events and properties have 1 to {LONGEST_EVENT} characters."
        if (amount.of == "Property") != bool(amount.name):
            return "`name` is that of the property, where `of` is Property, and of nothing else."
        if amount.cap is not None and not (math.isfinite(amount.cap) and amount.cap > 0):
            return "`cap` is a number above 0."
    if not 0 <= asked.history <= LONGEST_TEST or (asked.history and asked.over):
        return "`history` is a number of milliseconds, 400 days at most, and stands beside no `over`."
    return None
