"""What the worker has to know of the campaigns of its namespace: the ConfigMap, followed as it changes."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flywheel.events.naming import SETTINGS_KEY, WORKER
from flywheel.kube.errors import ApiError, LoginError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import CONFIG_MAP
from flywheel.plan import Manifest, ObjectKey

log = logging.getLogger(__name__)

INACTIVITY = 90.0
SESSION = 300
LONGEST_PAUSE = 30.0
FILE_INTERVAL = 10.0


class CampaignWatch:
    """The entries of `campaigns.json`, as the operator wrote them last."""

    def __init__(self, namespace: str, file: Path | None) -> None:
        """Make a watch.

        Args:
            namespace: Where the ConfigMap is.
            file: The same ConfigMap as a volume: what holds until the API server answers, and where there is none.
        """
        self._key = ObjectKey("", "ConfigMap", namespace, WORKER)
        self._file = file
        self._from_server = False
        self.entries: dict[str, Any] = {}
        """By name of campaign."""
        self.complaint: str | None = None
        """Why the entries may be out of date, or None."""

    def retentions(self) -> Mapping[str, int]:
        """Give the seconds for which each campaign keeps its rows."""
        found = {}
        for campaign, entry in self.entries.items():
            seconds = entry.get("retention") if isinstance(entry, dict) else None
            if isinstance(seconds, int) and seconds > 0:
                found[campaign] = seconds
        return found

    async def work(self) -> None:
        """Follow the settings for ever."""
        await self._read_file()
        pause = 0.5
        while True:
            try:
                gateway = await Gateway.connect(connections=2)
            except LoginError as error:
                self.complaint = f"The campaigns' settings come from a file alone: {error}"
                await asyncio.sleep(FILE_INTERVAL)
                await self._read_file()
                continue
            try:
                while True:
                    try:
                        await self._follow(gateway)
                        pause = 0.5
                    except (ApiError, ValueError, KeyError) as error:
                        # ValueError: the watch was cut off in the middle of a line.
                        self.complaint = f"The campaigns' settings cannot be followed: {error}"
                        log.warning(self.complaint)
                        await self._read_file()
                        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads retries
                        pause = min(LONGEST_PAUSE, pause * 2)
            finally:
                await gateway.close()

    async def _follow(self, gateway: Gateway) -> None:
        """Read the ConfigMap, and follow it until the server ends the watch."""
        found = await gateway.get(self._key)
        self._take(found)
        query = [
            ("watch", "true"),
            ("fieldSelector", f"metadata.name={WORKER}"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(SESSION)),
        ]
        if found:
            query.append(("resourceVersion", found["metadata"]["resourceVersion"]))
        async with gateway.open_watch(CONFIG_MAP, self._key.namespace, query, INACTIVITY) as changes:
            self.complaint = None
            async for change in changes:
                if change.get("type") == "ERROR":
                    # Mostly that the server has forgotten our version: it is read anew.
                    return
                if change.get("type") in ("ADDED", "MODIFIED"):
                    self._take(change["object"])

    def _take(self, config_map: Manifest | None) -> None:
        text = ((config_map or {}).get("data") or {}).get(SETTINGS_KEY)
        if text is None:
            # The operator has not written it yet; that it went away is no reason to forget the campaigns.
            return
        self._from_server = True
        self._decode(text, f"ConfigMap {self._key.namespace}/{WORKER}")

    async def _read_file(self) -> None:
        if self._file is None or self._from_server:
            return
        with contextlib.suppress(FileNotFoundError):
            self._decode(await asyncio.to_thread(self._file.read_text, "utf-8"), str(self._file))

    def _decode(self, text: str, origin: str) -> None:
        try:
            self.entries = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as error:
            # The last good ones stay.
            self.complaint = f"{origin}, {SETTINGS_KEY}: {error}"
            log.error(self.complaint)  # noqa: TRY400 - a traceback tells nobody more
