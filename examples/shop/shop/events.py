"""Tells the campaign's edge what was sold: `Order Completed`, from the server, once per paid order.

The queue is bounded and sends in the background, so a slow or missing edge never delays a payment. An order keeps its
`messageId` however often it is told, so that a repetition counts once.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from shop.settings import Settings

QUEUE_LENGTH = 1000
ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
SENDERS = 8
FAREWELL_SECONDS = 5.0
"""How long a stopping process still tries to send what waits."""

log = logging.getLogger("shop.events")
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and the cookies of its visitor by which the edge knows visitor, channel and consent."""

    event: Event
    cookies: dict[str, str]


def order_completed(purchase: dict[str, Any], visitor: str) -> Event:
    """Write a paid purchase as an event of Segment's e-commerce spec.

    Args:
        purchase: As the store returns it.
        visitor: The edge's id of the visitor; where there is none the order counts all the same, and no visitor.
    """
    # A shop that lost its file counts from 1 again: the number alone would make its orders look like repetitions.
    number = f"{purchase['shop']}-{purchase['id']:08d}"
    return {
        "event": "Order Completed",
        "messageId": f"order-{number}",
        **({"anonymousId": visitor} if visitor else {"userId": f"order-{number}"}),
        "timestamp": purchase["paid_at"],
        "properties": {
            "order_id": number,
            "revenue": purchase["total_cents"] / 100,
            "discount": (purchase["discount_cents"] + purchase["coupon_cents"]) / 100,
            "currency": "CNY",
            "products": [
                {
                    "product_id": line["sku"],
                    "name": line["name"],
                    "quantity": line["quantity"],
                    "price": line["unit_cents"] / 100,
                }
                for line in purchase["lines"]
            ],
        },
    }


def edge_cookies(cookies: Mapping[str, str]) -> dict[str, str]:
    """Choose the cookies of the edge; all their names begin alike, the consent's too."""
    return {name: value for name, value in cookies.items() if name.startswith("fw_")}


class Telling:
    """A bounded queue of events on their way to the edge. Does nothing where no edge is named."""

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        transport: httpx.AsyncBaseTransport | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._key, self._now, self._chance = settings.write_key, now, chance
        self._waiting: asyncio.Queue[Told] = asyncio.Queue(QUEUE_LENGTH)
        self._tasks: list[asyncio.Task[None]] = []
        self.dropped = 0
        self._http = (
            httpx.AsyncClient(
                base_url=settings.events_url,
                timeout=httpx.Timeout(3.0, connect=1.0),
                auth=(settings.write_key, ""),
                transport=transport,
            )
            if settings.events_url and settings.write_key
            else None
        )

    def start(self) -> None:
        """Begin to send."""
        if self._http:
            self._tasks = [asyncio.create_task(self._send_all(), name=f"events {n}") for n in range(SENDERS)]

    def tell(self, event: Event, cookies: Mapping[str, str]) -> None:
        """Queue an event, at once; it is dropped when the queue is full, and the log says so."""
        if not self._http:
            return
        try:
            self._waiting.put_nowait(Told(event, edge_cookies(cookies)))
        except asyncio.QueueFull:
            self._drop(event, "too many wait already")

    async def close(self) -> None:
        """Send what waits, for a few seconds, and end."""
        if not self._http:
            return
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            log.warning({"message": "events were not sent", "count": self._waiting.qsize()})
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _send_all(self) -> None:
        while True:
            told = await self._waiting.get()
            try:
                await self._send(told)
            finally:
                self._waiting.task_done()

    async def _send(self, told: Told) -> None:
        assert self._http is not None
        event, why = told.event, ""
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in told.cookies.items())}
        for attempt in range(ATTEMPTS):
            try:
                body = event | {"sentAt": self._now().isoformat()}
                answer = await self._http.post("/v1/track", json=body, headers=headers if told.cookies else {})
            except httpx.HTTPError as error:
                why = f"{type(error).__name__}: {error}"
            else:
                if answer.is_success:
                    return
                why = f"{answer.status_code}: {answer.text[:200]}"
                if answer.status_code < 500 and answer.status_code not in (408, 429):
                    break
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt)
            await asyncio.sleep(pause * (0.5 + self._chance() / 2))
        self._drop(event, why)

    def _drop(self, event: Event, why: str) -> None:
        self.dropped += 1
        log.error({"message": "an event was dropped", "messageId": event["messageId"], "why": why})
