"""What the operator asks for gates of releases: figures of the slots of a service."""

import re
from typing import Any

import msgspec

from flywheel.events.engine import Limits
from flywheel.events.questions import Kind
from flywheel.events.store import Store
from flywheel.insight.slots import (
    LONGEST_WINDOW,
    MOST_EVENTS,
    SlotScope,
    events_statement,
    requests_statement,
    shape,
)

SLOTS = "/v1/slots"
SECONDS = 15.0
"""Of the engine, for one of the two questions."""
MOST_ROWS = 1_000
LONGEST_EVENT = 512
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
LATEST = 1 << 53


class SlotsAsked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which figures are wanted."""

    campaign: str
    service: str
    since: int
    """Milliseconds since 1970; included."""
    until: int
    """Excluded."""
    events: list[str] = []


def slot_questions(store: Store) -> Kind[SlotsAsked]:
    """Make the handler of `POST /v1/slots`."""

    async def figures(asked: SlotsAsked) -> dict[str, Any]:
        names = tuple(dict.fromkeys(asked.events))
        scope = SlotScope(asked.campaign, asked.service, asked.since, asked.until, names)
        limits = Limits(seconds=SECONDS, rows=MOST_ROWS)
        first = requests_statement(scope)
        requests = await store.query(first.sql, first.parameters, limits)
        events: list[dict[str, object]] = []
        if names and requests:
            second = events_statement(scope)
            events = await store.query(second.sql, second.parameters, limits)
        return {"slots": {slot: each.plain() for slot, each in shape(scope, requests, events).items()}}

    return Kind(SlotsAsked, _complaint, figures)


def _complaint(asked: SlotsAsked) -> str | None:
    if not NAME.fullmatch(asked.campaign) or not NAME.fullmatch(asked.service):
        return "`campaign` and `service` are names of a Campaign and of one of its services."
    if not 0 <= asked.since < asked.until < LATEST:
        return "`since` and `until` are moments in milliseconds since 1970, the one before the other."
    if asked.until - asked.since > LONGEST_WINDOW:
        return "Between `since` and `until` there may be a day at most."
    if len(asked.events) > MOST_EVENTS:
        return f"At most {MOST_EVENTS} events are counted at once."
    if not all(0 < len(each) <= LONGEST_EVENT for each in asked.events):
        return f"The names of `events` have 1 to {LONGEST_EVENT} characters."
    return None
