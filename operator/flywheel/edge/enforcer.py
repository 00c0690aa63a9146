"""The sidecar's hand on HAProxy's fraud maps: what workers tell is carried out at once, and kept for whoever restarts.

The maps are in HAProxy's memory, in files that a HAProxy which starts anew reads, and the decisions themselves in a
file from which a sidecar that starts anew goes on while the workers are away. Nothing of it outlives the pod.
"""

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from flywheel.edge.files import write_atomically
from flywheel.edge.fraudmaps import LEFT, Difference, FraudMaps
from flywheel.edge.fraudrules import FRAUD_MAPS, KEYS
from flywheel.edge.render import map_text
from flywheel.edge.runtime_api import RuntimeApi, RuntimeApiError
from flywheel.fraud.blocks import Decision
from flywheel.fraud.feed import Line, volume_of

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between looks at what has ended, and at whether HAProxy is the same process."""
SELDOM = 20
"""How many times as long as a writing of the files took the next one waits."""
SLICE = 500
"""Entries that are worked on without letting others have their turn."""
_MEMORY = "fraud.ndjson"
_T = TypeVar("_T")


class _Kept(msgspec.Struct):
    """What stands in memory above the decisions."""

    keys: dict[str, str]
    volumes: dict[str, str]


class Enforcer:
    """Carries out the decisions of all workers."""

    def __init__(
        self,
        run_directory: Path,
        stats_socket: str,
        *,
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self.maps = FraudMaps()
        self.failures = 0
        """Orders that HAProxy did not take; everything is compared anew after each."""
        self._memory = run_directory / _MEMORY
        self._api = RuntimeApi(stats_socket)
        self._clock = clock
        self._directory: Path | None = None
        self._pid = 0
        """HAProxy's process whose maps are known to be as they shall be; 0 where that is not known."""
        self._keys: dict[str, dict[str, str]] = {}
        self._volumes: dict[str, str] = {}
        """By worker: the volume that it has."""
        self._turn = asyncio.Lock()
        self._unwritten = False
        self._write_at = 0.0
        self._remember()

    def write(self, directory: Path) -> None:
        """Write the maps into the directory of a configuration, for a HAProxy that starts with it.

        Raises:
            OSError: They cannot be written.
        """
        for name, entries in self.maps.maps.items():
            write_atomically(directory / f"{name}.map", map_text(entries))

    async def bring(self, directory: Path, pid: int) -> None:
        """Bring the maps of a HAProxy process that has this configuration to what they shall be.

        Raises:
            RuntimeApiError: HAProxy does not take it.
        """
        async with self._turn:
            if (directory, pid) == (self._directory, self._pid):
                return
            await self._bring_all(directory, pid)

    def rest(self) -> None:
        """Carry out nothing for now: HAProxy has no such maps. What is known stays known."""
        self._directory, self._pid = None, 0

    async def take(self, source: str, line: Line) -> None:
        """Carry out what a worker tells."""
        async with self._turn:
            if line.keys:
                if self._has_lost_its_memory(source, line):
                    # It cannot know that it has lifted anything: what it said goes on to its end.
                    await self._change(self.maps.leave(source, self._clock()))
                self._volumes[source] = volume_of(line.epoch)
                self._keys[source] = {name: key for name, key in line.keys.items() if _is_key(name, key)}
                together = {name: key for each in self._keys.values() for name, key in each.items()}
                await self._change(self.maps.use_keys(together))
            gone = self.maps.beyond(source, {each.id for each in line.put}) if line.whole else line.gone
            await self._change(self.maps.apply(source, (), gone, whole=False, now=self._clock()))
            for start in range(0, len(line.put), SLICE):
                some = line.put[start : start + SLICE]
                await self._change(self.maps.apply(source, some, (), whole=False, now=self._clock()))
                await asyncio.sleep(0)

    async def keep_to(self, workers: Collection[str]) -> None:
        """Let what others have told hold until its end: they are no workers any more."""
        async with self._turn:
            for source in {source for source, _ in self.maps.told() if LEFT not in source} - set(workers):
                await self._change(self.maps.leave(source, self._clock()))

    def _has_lost_its_memory(self, source: str, line: Line) -> bool:
        """Tell whether a worker began anew on an empty volume."""
        known, told = self._volumes.get(source, ""), volume_of(line.epoch)
        if known and told:
            return known != told
        # That is where the key of passes is made.
        return _is_of_another_volume(self._keys.get(source, {}), line.keys)

    async def run(self) -> None:
        """Let decisions end, and keep files and memory up to date, until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            async with self._turn:
                await self._change(self.maps.expire(self._clock()))
                await self._heal()
            if self._unwritten and time.monotonic() >= self._write_at:
                await self._keep()

    async def _keep(self) -> None:
        """Write the files, a little at a time, as orders to HAProxy must not wait; large ones seldom."""
        self._unwritten, began = False, time.monotonic()
        texts = {f"{name}.map": await _in_slices(entries.items(), _entry) for name, entries in self.maps.maps.items()}
        keys = msgspec.json.encode(_Kept(self.maps.maps[KEYS], self._volumes)).decode() + "\n"
        kept = keys + await _in_slices(self.maps.told(), _line)
        await asyncio.to_thread(self._write, self._directory, texts, kept)
        self._write_at = time.monotonic() + SELDOM * (time.monotonic() - began)

    async def _change(self, differences: list[Difference]) -> None:
        """Give HAProxy what has changed; where that fails, all is compared at the next look."""
        if not differences:
            return
        self._unwritten = True
        if not self._pid or self._directory is None:
            return
        try:
            for each in differences:
                await self._api.patch_map(str(self._directory / f"{each.name}.map"), each.new, each.other, each.gone)
        except asyncio.CancelledError:
            # Whoever is stopped midway does not know what HAProxy has taken.
            self._pid = 0
            raise
        except RuntimeApiError as error:
            self.failures += 1
            self._pid = 0
            log.warning("HAProxy has not taken decisions; they are brought again: %s", error)

    async def _heal(self) -> None:
        """Find out whether HAProxy has been started anew, or has missed something, and bring it all there is."""
        directory = self._directory
        if directory is None:
            return
        with contextlib.suppress(RuntimeApiError):
            pid = (await self._api.process()).pid
            if pid != self._pid:
                await self._bring_all(directory, pid)

    async def _bring_all(self, directory: Path, pid: int) -> None:
        self._directory, self._pid = directory, 0
        for name in FRAUD_MAPS:
            path = str(directory / f"{name}.map")
            await self._api.change_map(path, await self._api.map(path), self.maps.maps[name])
        self._pid = pid

    def _write(self, directory: Path | None, texts: dict[str, str], kept: str) -> None:
        try:
            write_atomically(self._memory, kept)
            if directory is not None and directory.is_dir():
                for name, text in texts.items():
                    write_atomically(directory / name, text)
        except OSError as error:
            self._unwritten = True
            log.warning("The decisions cannot be kept for a HAProxy that starts anew: %s", error)

    def _remember(self) -> None:
        """Begin with what the process before knew."""
        try:
            keys, *lines = self._memory.read_bytes().splitlines()
            known, self._volumes = msgspec.structs.astuple(msgspec.json.decode(keys, type=_Kept))
            told = [msgspec.json.decode(line, type=tuple[str, Decision]) for line in lines]
        except (OSError, ValueError):
            return
        self.maps.use_keys(known)
        now = self._clock()
        for source in {source for source, _ in told}:
            self._keys[source] = known
            self.maps.apply(source, [each for whose, each in told if whose == source], (), whole=True, now=now)


async def _in_slices(given: Iterable[_T], write: Callable[[_T], str]) -> str:
    """Write many things, letting others have their turn in between."""
    parts, everything = [], list(given)
    for start in range(0, len(everything), SLICE):
        parts.append("".join([write(each) for each in everything[start : start + SLICE]]))
        await asyncio.sleep(0)
    return "".join(parts)


def _entry(entry: tuple[str, str]) -> str:
    return f"{entry[0]} {entry[1]}\n"


def _line(told: tuple[str, Decision]) -> str:
    return msgspec.json.encode(told).decode() + "\n"


def _is_of_another_volume(known: dict[str, str], told: dict[str, str]) -> bool:
    """Tell whether a worker has none of the keys that it had."""
    return bool(known) and not set(known) & set(told)


def _is_key(name: str, key: str) -> bool:
    """Whether a worker's key can stand in a map."""
    try:
        return (
            name.isascii() and name.isalnum() and 0 < len(name) <= 32 and len(base64.b64decode(key, validate=True)) > 0
        )
    except ValueError:
        return False
