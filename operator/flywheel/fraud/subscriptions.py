"""Whoever waits for decisions is woken when there are some."""

import asyncio
import contextlib
from collections.abc import Iterator


class Subscriptions:
    """Who waits, by campaign."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.closing = asyncio.Event()

    def __len__(self) -> int:
        return sum(len(each) for each in self._waiting.values())

    def tell(self, campaign: str) -> None:
        """Wake those who wait for a campaign."""
        for each in self._waiting.get(campaign, ()):
            each.set()

    def close(self) -> None:
        """Let everybody go."""
        self.closing.set()
        for campaign in list(self._waiting):
            self.tell(campaign)

    @contextlib.contextmanager
    def subscribe(self, campaign: str) -> Iterator[asyncio.Event]:
        """Give what is set when decisions of a campaign change."""
        told = asyncio.Event()
        self._waiting.setdefault(campaign, set()).add(told)
        try:
            yield told
        finally:
            self._waiting[campaign].discard(told)
            if not self._waiting[campaign]:
                del self._waiting[campaign]
