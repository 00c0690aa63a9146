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
        self._watch: Watch | None = None
        self._alone: str | None = None
        self._unreadable: str | None = None
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

    @property
    def complaint(self) -> str | None:
        """Why the entries may be out of date, or None."""
        error = self._watch.error if self._watch else None
        unreachable = f"The campaigns' settings cannot be followed: {error}" if error else None
        return unreachable or self._alone or self._unreadable

    async def work(self) -> None:
        """Follow the settings for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_file_for_now())
            group.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            try:
                gateway = await Gateway.connect(connections=2)
            except LoginError as error:
                self._alone = f"The campaigns' settings come from a file alone: {error}"
                await asyncio.sleep(FILE_INTERVAL)
                continue
            try:
                self._watch = Watch(
                    gateway, CONFIG_MAP, self._key.namespace, field_selector=f"metadata.name={self._key.name}"
                )
                async for event in self._watch.events():
                    self._alone = None
                    # That it went away is no reason to forget the campaigns.
                    if isinstance(event, Change) and event.type == "Present":
                        self._take(event.manifest)
            finally:
                await gateway.close()

    async def _read_file_for_now(self) -> None:
        """Read the file again and again, until the server has given the same."""
        while not self._from_server:
            await self._read_file()
            await asyncio.sleep(FILE_INTERVAL)

    def _take(self, config_map: Manifest) -> None:
        text = (config_map.get("data") or {}).get(SETTINGS_KEY)
        if text is None:
            return
        self._from_server = True
        self._decode(text, f"ConfigMap {self._key.namespace}/{WORKER}")

    async def _read_file(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self._decode(await asyncio.to_thread(self._file.read_text, "utf-8"), str(self._file))

    def _decode(self, text: str, origin: str) -> None:
        try:
            self.entries = msgspec.json.decode(text, type=dict[str, Any])
            self._unreadable = None
        except (msgspec.DecodeError, UnicodeError) as error:
            # The last good ones stay.
            self._unreadable = f"{origin}, {SETTINGS_KEY}: {error}"
            log.error(self._unreadable)  # noqa: TRY400 - a traceback tells nobody more
