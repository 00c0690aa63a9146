"""How many records of the access log never came.

HAProxy counts a request when it arrives and logs it when it ends. So requests under way look like losses. As a rule at
most one for each open connection is; what is missing beyond that, and stays missing for a while, was lost. Each HAProxy
process has its own counters: a reload starts a new one beside the old, which goes on for a while.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

LASTING = 3
"""Comparisons in a row in which records have to be missing."""
MOST_PROCESSES = 64
"""That are remembered; the oldest go."""


class WorkerCount(NamedTuple):
    """What one HAProxy process says of itself, over the frontends that log."""

    requests: int
    connections: int
    """Open now."""


class _Process(msgspec.Struct):
    records: int = 0
    requests: int = 0
    """When it was last asked."""
    lost: int = 0
    """Told already."""
    deficits: list[int] = []
    """Found lately."""


class Losses:
    """Records and requests of each HAProxy process by its id."""

    def __init__(self, processes: dict[int, _Process] | None = None) -> None:
        self._processes = processes or {}

    @classmethod
    def read(cls, file: Path) -> "Losses":
        """Read what an earlier process of ours noted: records that came to nobody in between are lost."""
        try:
            return cls(msgspec.json.decode(file.read_bytes(), type=dict[int, _Process]))
        except (OSError, msgspec.DecodeError):
            return cls()

    def write(self, file: Path) -> None:
        """Write it down.

        Raises:
            OSError: It could not be.
        """
        new = file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self._processes))
        new.replace(file)

    def add(self, records: Mapping[int, int]) -> None:
        """Note records that came."""
        for pid, count in records.items():
            self._process(pid).records += count

    def compare(self, counted: Mapping[int, WorkerCount]) -> int:
        """Give how many records were lost that were not told yet."""
        told = 0
        for pid, count in counted.items():
            process = self._process(pid)
            if count.requests < process.requests:
                # Another process under the same id: HAProxy's container was restarted.
                process = self._processes[pid] = _Process()
            process.requests = count.requests
            deficit = count.requests - process.records - count.connections
            process.deficits = [*process.deficits, deficit][-LASTING:]
            lasting = min(process.deficits) if len(process.deficits) == LASTING else 0
            if lasting > process.lost:
                told += lasting - process.lost
                process.lost = lasting
        return told

    def _process(self, pid: int) -> _Process:
        found = self._processes.get(pid)
        if found is None:
            while len(self._processes) >= MOST_PROCESSES:
                del self._processes[next(iter(self._processes))]
            found = self._processes[pid] = _Process()
        return found
