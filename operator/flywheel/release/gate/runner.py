"""Measurements in the background: each begun once, a bounded number at once, its result kept until it is taken."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from flywheel.api.gate_measured import EventsGate, HttpGate, PrometheusGate
from flywheel.release.gate.calls import Clients
from flywheel.release.gate.compare import not_made
from flywheel.release.gate.events import GetToken, measure_events
from flywheel.release.gate.http import measure_http
from flywheel.release.gate.measurement import Measurement, Target
from flywheel.release.gate.prometheus import ReadSecret, measure_prometheus

log = logging.getLogger(__name__)

AT_ONCE = 16
MOST_KNOWN = 5_000
"""Measurements that are under way, wait or are kept; no more are begun."""
LONGEST = 120.0
"""Seconds after which one measurement ends, whatever it waits for. Waiting for its turn does not count."""
KEPT_FOR = 600.0
"""Seconds for which a result is kept that nobody takes."""
CLOSING = 5.0

OnDone = Callable[[str, str], None]
"""Told namespace and name of the Campaign whenever a measurement has ended."""


class MeasuredGate(Protocol):
    """The part of a gate that says what is measured; `flywheel.api.release.Gate` is one."""

    @property
    def http(self) -> HttpGate | None:
        """A request."""

    @property
    def prometheus(self) -> PrometheusGate | None:
        """A query."""

    @property
    def events(self) -> EventsGate | None:
        """Figures of the own store."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What measuring needs."""

    clients: Clients
    read_secret: ReadSecret
    get_token: GetToken
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


async def measure(gate: MeasuredGate, target: Target, around: Surroundings) -> Measurement:
    """Make one measurement of whichever kind the gate is.

    Raises:
        ValueError: The gate is of a kind that is not measured here.
    """
    now = around.clock()
    if gate.http is not None:
        return await measure_http(gate.http, target, around.clients.plain)
    if gate.prometheus is not None:
        return await measure_prometheus(gate.prometheus, target, around.clients, around.read_secret, now=now)
    if gate.events is not None:
        return await measure_events(gate.events, target, around.clients.plain, around.get_token, now=now)
    raise ValueError("this gate is none of http, prometheus and events")


@dataclass(slots=True)
class _Work:
    task: "asyncio.Task[None]"
    result: Measurement | None = None
    ended_at: float = 0.0


class MeasurementRunner:
    """Begins measurements and keeps their results. For one event loop."""

    def __init__(
        self,
        around: Surroundings,
        on_done: OnDone,
        *,
        at_once: int = AT_ONCE,
        longest: float = LONGEST,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a runner.

        Args:
            around: What measuring needs; its clients stay the caller's to close.
            on_done: Told whenever a measurement has ended.
            at_once: Measurements at once; others wait.
            longest: Seconds that one may take.
            monotonic: Tells how old results are.
        """
        self._around = around
        self._on_done = on_done
        self._turns = asyncio.Semaphore(at_once)
        self._longest = longest
        self._monotonic = monotonic
        self._known: dict[Hashable, _Work] = {}
        self._closed = False

    def begin(self, key: Hashable, gate: MeasuredGate, target: Target) -> bool:
        """Begin a measurement, unless one of this key is under way or its result waits to be taken.

        Tells whether the measurement is known now; where there are too many it is not, and is to be begun again later.
        """
        if key in self._known:
            return True
        self._forget_old()
        if self._closed or len(self._known) >= MOST_KNOWN:
            return False
        self._known[key] = _Work(asyncio.create_task(self._run(key, gate, target), name=f"gate {key}"))
        return True

    def result(self, key: Hashable) -> Measurement | None:
        """Give a result without taking it; None while there is none."""
        work = self._known.get(key)
        return work.result if work else None

    def take(self, key: Hashable) -> Measurement | None:
        """Give a result and forget it; None while there is none."""
        work = self._known.get(key)
        if work is None or work.result is None:
            return None
        del self._known[key]
        return work.result

    def is_under_way(self, key: Hashable) -> bool:
        """Whether a measurement was begun and has not ended."""
        work = self._known.get(key)
        return work is not None and work.result is None

    def forget(self, matches: Callable[[Hashable], bool]) -> None:
        """End and forget the measurements whose keys match: of a revision or a Campaign that is gone."""
        for key in [each for each in self._known if matches(each)]:
            self._known.pop(key).task.cancel()

    async def close(self) -> None:
        """End all measurements. None can be begun after this."""
        self._closed = True
        tasks = [each.task for each in self._known.values() if not each.task.done()]
        self._known.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING)

    def _forget_old(self) -> None:
        now = self._monotonic()
        for key, work in list(self._known.items()):
            if work.result is not None and now - work.ended_at > KEPT_FOR:
                del self._known[key]

    async def _run(self, key: Hashable, gate: MeasuredGate, target: Target) -> None:
        async with self._turns:
            found = await self._measure(key, gate, target)
        work = self._known.get(key)
        # One that was forgotten meanwhile may have been begun anew.
        if work is None or work.task is not asyncio.current_task():
            return
        work.result, work.ended_at = found, self._monotonic()
        self._on_done(target.namespace, target.campaign)

    async def _measure(self, key: Hashable, gate: MeasuredGate, target: Target) -> Measurement:
        try:
            async with asyncio.timeout(self._longest):
                return (await measure(gate, target, self._around)).bounded()
        except TimeoutError:
            return not_made(f"The measurement did not end within {self._longest:g} s")
        except Exception:
            log.exception("The measurement %s ended by a fault of ours.", key)
            return not_made("The measurement ended by a fault of the operator: see its log")
