"""Figures of a revision's slot from the campaign's own event store, beside those of the active slot."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import msgspec

from flywheel.api.gate_measured import ErrorRateCheck, EventCheck, EventsGate, LatencyCheck
from flywheel.events.naming import operator_audience, worker_url
from flywheel.insight.slots import SlotFigures
from flywheel.kube.errors import ApiError, LoginError
from flywheel.release.gate.calls import Answer, NotAnsweredError, fetch
from flywheel.release.gate.compare import (
    MILLISECONDS,
    PERCENT,
    Bound,
    at_least,
    at_least_share,
    at_most,
    at_most_above,
    at_most_more,
    judge,
    no_data,
    not_made,
)
from flywheel.release.gate.measurement import Measurement, Target
from flywheel.release.gate.placeholders import window_of

TIMEOUT = 60.0
"""Seconds; the store's own limits are narrower."""

GetToken = Callable[[str], Awaitable[str]]
"""Gives a token for an audience; raises ApiError or LoginError where there is none."""
StoreAddress = Callable[[str], str]
"""Gives the address of the store of a namespace."""


class NotMadeError(Exception):
    """The figures could not be had. The text is for people."""


class _Answered(msgspec.Struct):
    requests: int
    requests_of_bots: int
    errors: int
    visitors: int
    p50: float | None
    p95: float | None
    p99: float | None
    events: dict[str, int]


class _Answers(msgspec.Struct):
    slots: dict[str, _Answered]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is held against the demands: the revision's slot, and the active one where it is compared."""

    own: SlotFigures
    active: SlotFigures | None = None


async def measure_events(
    gate: EventsGate,
    target: Target,
    client: httpx.AsyncClient,
    get_token: GetToken,
    *,
    now: datetime,
    address: StoreAddress = worker_url,
) -> Measurement:
    """Ask the store once or twice, and judge. Whatever the store does, there is a measurement."""
    store = _Store(client, get_token, address(target.namespace))
    try:
        return judge_events(gate, await _look(gate, target, store, now))
    except NotMadeError as error:
        return not_made(str(error))


async def _look(gate: EventsGate, target: Target, store: "_Store", now: datetime) -> Seen:
    names = (gate.event.name,) if gate.event else ()
    start = now - window_of(gate.window, target.since, now)
    slots = await store.ask(target, start, now, names)
    own = slots.get(target.slot, SlotFigures())
    if not gate.compares or not target.active_slot:
        return Seen(own)
    if target.promoted:
        # The slot that was active has no traffic any more: it is looked at as it was until the switch.
        slots = await store.ask(target, target.since - gate.window, target.since, names)
    return Seen(own, slots.get(target.active_slot, SlotFigures()))


class _Store:
    """The store of one namespace."""

    def __init__(self, client: httpx.AsyncClient, get_token: GetToken, address: str) -> None:
        self._client = client
        self._get_token = get_token
        self._address = address

    async def ask(
        self, target: Target, since: datetime, until: datetime, events: tuple[str, ...]
    ) -> Mapping[str, SlotFigures]:
        try:
            token = await self._get_token(operator_audience(target.namespace))
        except (ApiError, LoginError) as error:
            raise NotMadeError(f"The event store could not be asked: {error}") from error
        body = {
            "campaign": target.campaign,
            "service": target.service,
            "since": _milliseconds(since),
            "until": max(_milliseconds(until), _milliseconds(since) + 1),
            "events": list(events),
        }
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url, content = f"{self._address}/v1/slots", msgspec.json.encode(body)
        try:
            answer = await fetch(self._client, "POST", url, headers=headers, content=content, seconds=TIMEOUT)
        except NotAnsweredError as error:
            raise NotMadeError(f"The event store at {self._address} could not be asked: {error}") from error
        return read_answer(self._address, answer)


def read_answer(address: str, answer: Answer) -> dict[str, SlotFigures]:
    """Read the figures of an answer, by slot. Pure.

    Raises:
        NotMadeError: It is an error, or no such answer.
    """
    if answer.status != 200:
        raise NotMadeError(f"The event store at {address} answered {answer.status}: {_told(answer)}")
    try:
        slots = msgspec.json.decode(answer.body, type=_Answers).slots
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise NotMadeError(
            f"The event store at {address} answered what cannot be read: is its image, analytics.store.image, of an "
            "older version than the operator?"
        ) from None
    return {slot: SlotFigures(**msgspec.structs.asdict(each)) for slot, each in slots.items()}


def _told(answer: Answer) -> str:
    try:
        told: Any = msgspec.json.decode(answer.body)["message"]
    except (msgspec.DecodeError, UnicodeError, RecursionError, KeyError, TypeError, IndexError):
        told = answer.excerpt()
    if answer.status == 404:
        return f"it does not know the question; is analytics.store.image older than the operator? ({str(told)[:80]})"
    return str(told)[:200]


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def judge_events(gate: EventsGate, seen: Seen) -> Measurement:
    """Hold figures against what the gate wants. Pure."""
    named = (("this revision", seen.own), ("the active slot", seen.active if gate.compares else None))
    if gate.compares and seen.active is None:
        return no_data("There is nothing to compare with: no revision was active before this one")
    for whose, figures in named:
        if figures is not None and figures.requests < gate.minimum_requests:
            return no_data(
                f"There were {figures.requests} requests to {whose}; with fewer than {gate.minimum_requests} "
                "(minimumRequests) nothing is said"
            )
    if gate.error_rate is not None:
        return _judge_errors(gate.error_rate, seen)
    if gate.latency is not None:
        return _judge_latency(gate.latency, seen)
    if gate.event is not None:
        return _judge_event(gate.event, seen)
    raise AssertionError("the model lets no gate through that asks for nothing")


def _judge_errors(check: ErrorRateCheck, seen: Seen) -> Measurement:
    def bounds() -> Iterator[Bound]:
        if check.max is not None:
            yield at_most(check.max, PERCENT)
        if check.max_increase is not None and seen.active is not None:
            points = f"{PERCENT.write(check.max_increase).removesuffix('%')} points"
            yield at_most_more(_error_rate(seen.active), check.max_increase, PERCENT, points)

    own = seen.own
    what = f"The error rate of {own.requests} requests"
    return judge(what, _error_rate(own), bounds(), PERCENT)


def _error_rate(figures: SlotFigures) -> float:
    return figures.errors / figures.requests if figures.requests else 0.0


def _judge_latency(check: LatencyCheck, seen: Seen) -> Measurement:
    own = seen.own.latency(check.quantile)
    active = seen.active.latency(check.quantile) if seen.active is not None else None
    if own is None or (check.max_increase is not None and active is None):
        return no_data("No request was answered, so there is no latency")

    def bounds() -> Iterator[Bound]:
        if check.max is not None:
            yield at_most(check.max.total_seconds(), MILLISECONDS)
        if check.max_increase is not None and active is not None:
            yield at_most_above(active, check.max_increase, MILLISECONDS)

    return judge(f"The {check.quantile} latency of {seen.own.requests} requests", own, bounds(), MILLISECONDS)


def _judge_event(check: EventCheck, seen: Seen) -> Measurement:
    own, own_served = _rate(check, seen.own)
    active, active_served = _rate(check, seen.active) if seen.active is not None else (None, 0)
    who = check.per.lower()
    if own is None:
        return no_data(f"No {who} was served, or none agreed to be known")
    if check.min_ratio is not None and not active:
        return no_data(f"There is nothing to compare with: no {check.name} of {active_served} {who}s before")

    def bounds() -> Iterator[Bound]:
        if check.min is not None:
            yield at_least(check.min)
        if check.min_ratio is not None and active is not None:
            yield at_least_share(active, check.min_ratio)

    return judge(f"{check.name} per {who}, of {own_served},", own, bounds())


def _rate(check: EventCheck, figures: SlotFigures) -> tuple[float | None, int]:
    """Events for each whom the slot served, and how many those are; None where there is nobody."""
    served = figures.visitors if check.per == "Visitor" else figures.requests - figures.requests_of_bots
    return (figures.events.get(check.name, 0) / served if served > 0 else None), served
