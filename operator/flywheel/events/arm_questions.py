"""What the operator asks for A/B tests: sums over the visitors of each arm."""

import math
from typing import Any, Literal

import msgspec

from flywheel.events.engine import Limits
from flywheel.events.questions import Kind
from flywheel.events.slot_questions import LATEST, LONGEST_EVENT, NAME
from flywheel.events.store import Store
from flywheel.insight.arm_sums import Cuts, cuts_of, cuts_statement, sums_statement
from flywheel.insight.arms import (
    MOST_OUTCOMES,
    Amount,
    ArmScope,
    Outcome,
    latencies_statement,
    requests_statement,
    shape,
)
from flywheel.insight.kpi import Statement

ARMS = "/v1/arms"
SECONDS = 15.0
"""Of the engine, for one of the four questions."""
MOST_ROWS = 8_000
LEAST_CUT, MOST_CUT = 0.5, 0.9999
LONGEST_TEST = 400 * 86_400_000
"""Milliseconds."""


class AmountAsked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A number from the events of one name of a visitor."""

    event: str
    of: Literal["Any", "Count", "Revenue", "Property", "TimeTo"] = "Any"
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
    winsorise: float | None = None
    """The percentile of all visitors of all arms above which values are cut to it, such as 0.99."""


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
        cut = cuts_statement(scope)
        cuts: Cuts = cuts_of(await ask(cut)) if cut else {}
        sums = await ask(sums_statement(scope, cuts))
        wanted = asked.requests and sums
        requests = await ask(requests_statement(scope)) if wanted else []
        latencies = await ask(latencies_statement(scope)) if wanted else []
        found = shape(scope, sums, requests, latencies)
        return {"arms": {arm: msgspec.to_builtins(each, str_keys=True) for arm, each in found.items()}}

    return Kind(ArmsAsked, _complaint, figures)


def _scope(asked: ArmsAsked) -> ArmScope:
    outcomes = tuple(
        Outcome(each.amount.amount(), each.over.amount() if each.over else None, each.history, each.winsorise)
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
    if asked.over and "TimeTo" in (asked.amount.of, asked.over.of):
        return "A ratio is one of counts and sums: `over` stands beside no TimeTo, and is none."
    if asked.winsorise is not None and not (asked.over is None and LEAST_CUT <= asked.winsorise <= MOST_CUT):
        return f"`winsorise` is a percentile from {LEAST_CUT} to {MOST_CUT}, and stands beside no `over`."
    return None
