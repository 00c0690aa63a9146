"""One secret of each campaign, with which its sidecars hash addresses: made once, and the same for ever."""

import asyncio
import logging
import secrets
import time
from pathlib import Path
from typing import Protocol

from flywheel.events.store import Store
from flywheel.events.volume_lock import write_secret

log = logging.getLogger(__name__)

BYTES = 32


class Salts(Protocol):
    """Where salts are kept."""

    async def salt(self, campaign: str) -> str:
        """Give the salt of a campaign, in hexadecimal; make it where there is none."""


class SaltFiles:
    """Salts on the worker's volume, in files that only it may read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._making = asyncio.Lock()

    async def salt(self, campaign: str) -> str:
        """Give the salt of a campaign.

        Raises:
            OSError: The volume cannot be read or written.
        """
        async with self._making:
            return await asyncio.to_thread(self._read_or_make, campaign)

    def _read_or_make(self, campaign: str) -> str:
        path = self._directory / campaign
        if path.is_file():
            return path.read_text(encoding="ascii").strip()
        made = secrets.token_hex(BYTES)
        write_secret(path, made)
        log.info("A salt was made for the addresses of the campaign %s.", campaign)
        return made


class SaltRows:
    """Salts in ClickHouse, where a worker has no volume that lasts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}
        self._making = asyncio.Lock()

    async def salt(self, campaign: str) -> str:
        """Give the salt of a campaign; raises as `Store.run`."""
        async with self._making:
            if campaign not in self._known:
                found = await self._read(campaign)
                if not found:
                    now = time.time_ns() // 1_000_000
                    await self._store.run(
                        "INSERT INTO salts (campaign, salt, made_at) "
                        "SELECT {campaign:String}, {salt:String}, {now:Int64}",
                        {"campaign": campaign, "salt": secrets.token_hex(BYTES), "now": now},
                    )
                    # Another worker may have been faster: the first one counts.
                    found = await self._read(campaign)
                self._known[campaign] = found
            return self._known[campaign]

    async def _read(self, campaign: str) -> str:
        rows = await self._store.run(
            "SELECT argMin(salt, (made_at, salt)) AS first FROM salts WHERE campaign = {campaign:String}",
            {"campaign": campaign},
        )
        return str(rows[0]["first"]) if rows else ""
