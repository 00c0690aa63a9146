"""Deleting what has had its time, once an hour, beside the engine that does so when it merges parts."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from flywheel.events.engine import EngineDown, EngineError, StoreError
from flywheel.events.schema import DELETABLE
from flywheel.events.store import Store

log = logging.getLogger(__name__)

INTERVAL = 3600.0
RETRY = 60.0
Retentions = Callable[[], Mapping[str, int]]
"""Gives the seconds for which each campaign keeps rows, as its spec says now."""


class Retention:
    """The hourly cleaning of one store."""

    def __init__(self, store: Store, retentions: Retentions) -> None:
        self._store = store
        self._retentions = retentions

    async def work(self) -> None:
        """Clean for ever."""
        while True:
            try:
                await self.clean(time.time())
                pause = INTERVAL
            except (EngineDown, EngineError, StoreError) as error:
                log.warning("Rows that have had their time could not be deleted; that is tried again: %s", error)
                pause = RETRY
            await asyncio.sleep(pause)

    async def clean(self, now: float) -> None:
        """Delete rows that have expired, and those that are older than a campaign keeps them by now."""
        for table in DELETABLE:
            conditions = [f"expires_at <= toDateTime({int(now)}, 'UTC')"]
            for campaign, seconds in sorted(self._retentions().items()):
                # A shorter retention counts for rows that came under a longer one as well.
                conditions.append(f"(campaign = '{campaign}' AND time <= {int((now - seconds) * 1000)})")
            await self._delete(table, " OR ".join(conditions))

    async def _delete(self, table: str, condition: str) -> None:
        found = await self._store.query(f"SELECT count() AS rows FROM {table} WHERE {condition}")  # noqa: S608
        if found and int(str(found[0]["rows"])):
            await self._store.run(f"ALTER TABLE {table} DELETE WHERE {condition}")
            log.info("%s rows of %s have had their time and are being deleted.", found[0]["rows"], table)
