"""What the worker has to know of the campaigns of its namespace: the ConfigMap, followed as it changes."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flywheel.events.naming import SETTINGS_KEY, WORKER
from flywheel.kube.errors import LoginError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import CONFIG_MAP
from flywheel.kube.watch import Change, Watch
from flywheel.plan import Manifest, ObjectKey

log = logging.getLogger(__name__)

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
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_file_for_now())
            group.create_task(self._follow())

    async def _follow(self) -> None:
        gateway = await self._connected()
        try:
            name = f"metadata.name={self._key.name}"
            async for event in Watch(gateway, CONFIG_MAP, self._key.namespace, field_selector=name).events():
                # That it went away is no reason to forget the campaigns.
                if isinstance(event, Change) and event.type == "Present":
                    self._take(event.manifest)
        finally:
            await gateway.close()

    async def _connected(self) -> Gateway:
        """Log in at the API server, which may never be possible: then the file is all there is."""
        told = False
        while True:
            try:
                return await Gateway.connect(connections=2)
            except LoginError as error:
                if not told:
                    log.warning("The campaigns' settings come from a file alone: %s", error)
                told = True
                await asyncio.sleep(FILE_INTERVAL)

    async def _read_file_for_now(self) -> None:
        """Read the file again and again, until the server has given the same."""
        while self._file is not None and not self._from_server:
            with contextlib.suppress(FileNotFoundError):
                content = await asyncio.to_thread(self._file.read_bytes)
                # What the server has given meanwhile is newer.
                if not self._from_server:
                    self._decode(content, str(self._file))
            await asyncio.sleep(FILE_INTERVAL)

    def _take(self, config_map: Manifest) -> None:
        text = (config_map.get("data") or {}).get(SETTINGS_KEY)
        if text is None:
            return
        self._from_server = True
        self._decode(text, f"ConfigMap {self._key.namespace}/{WORKER}")

    def _decode(self, content: str | bytes, origin: str) -> None:
        try:
            self.entries = msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as error:
            # A traceback tells nobody more.
            log.error("%s, %s: %s; the last good settings stay.", origin, SETTINGS_KEY, error)  # noqa: TRY400
