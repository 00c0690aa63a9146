"""Tries fraud rules on the past beside all reconciles, one at a time for each namespace."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flywheel.campaign.fraudtrial import Order, Outcome, outcome_of
from flywheel.fraud.backtest_asking import Answer, Asked, NotAsked

log = logging.getLogger(__name__)

LONGEST = 300.0
"""Seconds for one rule: its Campaigns are asked about one after the other."""
AT_ONCE = 4
"""Namespaces; the store of each is asked one thing at a time, as visitors' events go first there."""


class Past(Protocol):
    """Whom is asked."""

    async def ask(self, namespace: str, asked: Asked) -> Answer:
        """Ask what a rule would have found.

        Raises:
            NotAsked: There is no answer.
        """


@dataclass(slots=True)
class _Namespace:
    order: Order | None = None
    task: "asyncio.Task[None] | None" = None
    done: dict[tuple[str, str, int], Outcome] = field(default_factory=dict)


class FraudTrials:
    """The trials of all namespaces. What is under way is lost with the process, and begun again by the next one."""

    def __init__(self, past: Past, on_done: Callable[[str], None], *, longest: float = LONGEST) -> None:
        """Make it; nothing starts yet.

        Args:
            past: Whom is asked.
            on_done: Told the namespace in which a trial has ended.
            longest: Seconds for one rule.
        """
        self._past, self._on_done, self._longest = past, on_done, longest
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._namespaces: dict[str, _Namespace] = {}

    def look(self, namespace: str, orders: Sequence[Order]) -> Mapping[str, Outcome]:
        """Begin what has not begun, and give what is done, by rule. What is not ordered any more is forgotten."""
        held = self._namespaces.setdefault(namespace, _Namespace())
        wanted = {each.identity: each for each in orders}
        held.done = {identity: outcome for identity, outcome in held.done.items() if identity in wanted}
        if held.order is not None and held.order.identity not in wanted:
            self._leave(held)
        if held.order is None:
            following = next((each for identity, each in wanted.items() if identity not in held.done), None)
            if following is not None:
                held.order = following
                held.task = asyncio.create_task(self._try(held, following), name=f"trial of {following.rule}")
        if not wanted:
            self._namespaces.pop(namespace)
        return {identity[0]: outcome for identity, outcome in held.done.items()}

    async def close(self) -> None:
        """Leave everything that is under way."""
        tasks = [held.task for held in self._namespaces.values() if held.task]
        for held in self._namespaces.values():
            self._leave(held)
        self._namespaces.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, held: _Namespace) -> None:
        if held.task is not None:
            held.task.cancel()
        held.order = held.task = None

    async def _try(self, held: _Namespace, order: Order) -> None:
        try:
            async with self._turns, asyncio.timeout(self._longest):
                answers = [await self._past.ask(order.namespace, each) for each in order.questions]
            outcome = outcome_of(order, answers)
        except NotAsked as error:
            outcome = Outcome(order, failure=str(error))
        except TimeoutError:
            outcome = Outcome(order, failure=f"it took longer than {self._longest:g} s; shorten backtest.since")
        except Exception:
            log.exception("A mistake in flywheel: %s could not be tried on the past. Please report it.", order.rule)
            outcome = Outcome(order, failure="a mistake in the operator, of which its log says more")
        if held.order is order:
            held.done[order.identity] = outcome
            held.order = held.task = None
            self._on_done(order.namespace)
