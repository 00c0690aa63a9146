"""Asking the store for key figures."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from flywheel.insight import kpi
from flywheel.insight.kpi import MOST_VALUES, Dimension, Figures, Rows, Statement, WindowFigures
from flywheel.insight.settings import CampaignSettings
from flywheel.insight.summary import Goal


class Queries(Protocol):
    """The store, as far as it is asked."""

    async def query(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Answer with rows."""


QUESTION_TIMEOUT = 60.0


async def ask(store: Queries, statement: Statement) -> Rows:
    """Ask one question. The store has limits of its own; this one ends the waiting.

    Raises:
        TimeoutError: There is no answer.
    """
    async with asyncio.timeout(QUESTION_TIMEOUT):
        return await store.query(statement.sql, statement.parameters)


async def measure(
    store: Queries,
    campaign: str,
    settings: CampaignSettings,
    window: str,
    now: int,
    by: Dimension | None = None,
    values: Sequence[str] = (),
) -> WindowFigures:
    """Measure one window that ends `now`.

    `values` are those of the dimension to tell apart; the most frequent ones by default.
    """
    scope = settings.scope(campaign, window, now, by)
    if by and not values:
        # Where there are no records, an empty value stands for all of them.
        values = [str(row["value"]) for row in await ask(store, kpi.values_statement(scope))] or [""]
    events = await ask(store, kpi.events_statement(scope))
    rounds = kpi.visitors_statements(scope, values, sum(int(row["records"]) for row in events))
    visitors, requests, orders, pages = await _together(
        _one_by_one(store, rounds),
        ask(store, kpi.requests_statement(scope, values)),
        ask(store, kpi.orders_statement(scope, values)),
        _one_by_one(store, [kpi.pages_statement(scope, values)] if scope.page_views == "Script" else []),
    )
    return kpi.shape(
        window, scope, values, events=events, pages=pages, requests=requests, orders=orders, visitors=visitors
    )


async def _one_by_one(store: Queries, statements: Sequence[Statement]) -> Rows:
    return kpi.merge_rows([await ask(store, each) for each in statements])


async def _together(*questions: Coroutine[Any, Any, Rows]) -> Sequence[Rows]:
    """Ask at the same time: one leaves a core idle where the other needs it. The first that fails ends the others."""
    asking = [asyncio.ensure_future(each) for each in questions]
    try:
        return await asyncio.gather(*asking)
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def measure_services(
    store: Queries, campaign: str, settings: CampaignSettings, window: str, now: int
) -> dict[str, Figures]:
    """Measure requests, errors and latency of each service that the campaign declares: nothing about visitors."""
    scope = settings.scope(campaign, window, now, "service")
    values = settings.services[:MOST_VALUES] or ("",)
    requests = await ask(store, kpi.requests_statement(scope, values))
    return kpi.shape(window, scope, values, events=(), pages=(), requests=requests, orders=(), visitors=()).parts


async def measure_goal(
    store: Queries, campaign: str, settings: CampaignSettings, now: int, whole: WindowFigures
) -> Goal | None:
    """Measure the goal over the whole campaign; orders are known from its figures."""
    goal = settings.goal
    if goal is None:
        return None
    if goal.event == settings.order.event:
        return Goal(goal.event, goal.count, whole.total.orders)
    scope = settings.scope(campaign, "campaign", now)
    rows = await ask(store, kpi.goal_statement(scope, goal.event))
    return Goal(goal.event, goal.count, int(rows[0]["reached"]) if rows else 0)
