"""What the operator asks for A/B tests: sums over the visitors of each arm."""

import math
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from typing import Any, Literal

import msgspec

from flywheel.events.engine import Limits
from flywheel.events.questions import Kind
from flywheel.events.slot_questions import LATEST, LONGEST_EVENT, NAME
from flywheel.events.store import Store
from flywheel.insight.arm_series import MOST_STEPS, series_statement, shape_series
from flywheel.insight.arm_sums import (
    Cuts,
    by_batch,
    by_day,
    cuts_of,
    cuts_statement,
    shape_parts,
    sums_statement,
)
from flywheel.insight.arms import (
    MOST_OUTCOMES,
    Amount,
    ArmScope,
    Outcome,
    latencies_statement,
    parameters_of,
    requests_statement,
    shape,
)
from flywheel.insight.exposures import causes_statement, shape_causes
from flywheel.insight.kpi import Statement

ARMS = "/v1/arms"
SECONDS = 15.0
"""Of the engine, for one question of those that make up a call."""
MOST_ROWS = 8_000
LEAST_CUT, MOST_CUT = 0.5, 0.9999
LONGEST_TEST = 400 * 86_400_000
"""Milliseconds."""
MOST_BATCHES = 64
MOST_OFFSET = 18 * 60
Ask = Callable[[Statement], Awaitable[list[dict[str, Any]]]]
"""Gives the rows of an answer."""


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
    causes: bool = False
    """Also exposures by what is known of the first request."""
    steps: list[int] = []
    """Also visitors and the sums of the first outcome as they were at these moments."""
    days: bool = False
    """Also those of the visitors who were exposed on each day."""
    offset: int = 0
    """Minutes by which the days' midnights lie before those of Greenwich."""
    batches: list[int] = []
    """Also those of the visitors of each batch; these are the moments at which the batches begin."""


def arm_questions(store: Store) -> Kind[ArmsAsked]:
    """Make the handler of `POST /v1/arms`."""

    async def ask(statement: Statement) -> list[dict[str, Any]]:
        limits = Limits(seconds=SECONDS, rows=MOST_ROWS)
        return await store.query(statement.sql, statement.parameters, limits)

    async def figures(asked: ArmsAsked) -> dict[str, Any]:
        scope = _scope(asked)
        cut = cuts_statement(scope)
        cuts = cuts_of(await ask(cut)) if cut else {}
        sums = await ask(sums_statement(scope, cuts))
        wanted = asked.requests and sums
        requests = await ask(requests_statement(scope)) if wanted else []
        latencies = await ask(latencies_statement(scope)) if wanted else []
        found = shape(scope, sums, requests, latencies)
        return {"arms": _plain(found)} | await _details(ask, asked, scope, cuts)

    return Kind(ArmsAsked, _complaint, figures)


async def _details(ask: Ask, asked: ArmsAsked, scope: ArmScope, cuts: Cuts) -> dict[str, Any]:
    """Answer what is asked beside the sums."""
    found: dict[str, Any] = {}
    if asked.causes:
        found["causes"] = shape_causes(await ask(causes_statement(parameters_of(scope))))
    if asked.steps:
        steps = shape_series(asked.steps, await ask(series_statement(scope, asked.steps, cuts)))
        found["series"] = [{"at": each.at, "arms": _plain(each.arms)} for each in steps]
    if asked.days:
        days = shape_parts(await ask(by_day(scope, asked.offset * 60_000, cuts)))
        found["days"] = [{"day": day, "arms": _plain(arms)} for day, arms in sorted(days.items())]
    if asked.batches:
        batches = shape_parts(await ask(by_batch(scope, asked.batches, cuts)))
        found["batches"] = [_plain(batches.get(str(begin), {})) for begin in asked.batches]
    return found


def _plain(arms: Mapping[str, object]) -> dict[str, Any]:
    return {arm: msgspec.to_builtins(each, str_keys=True) for arm, each in arms.items()}


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
    return _trouble_of_moments(asked) or next((told for each in asked.outcomes if (told := _trouble(each))), None)


def _trouble_of_moments(asked: ArmsAsked) -> str | None:
    for name, moments, most in (("steps", asked.steps, MOST_STEPS), ("batches", asked.batches, MOST_BATCHES)):
        if len(moments) > most:
            return f"`{name}` has at most {most} moments."
        if any(one >= other for one, other in pairwise(moments)):
            return f"The moments of `{name}` come one after the other."
        if moments and not asked.since <= moments[0] <= moments[-1] <= asked.until:
            return f"The moments of `{name}` lie between `since` and `until`."
    if not -MOST_OFFSET <= asked.offset <= MOST_OFFSET:
        return f"`offset` is a number of minutes, {MOST_OFFSET} at most in either direction."
    return None


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
