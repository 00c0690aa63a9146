"""What a slot that visitors have just left keeps for a moment: its backups.

Requests that wait there for another try began before the switch. Would the backups go with the switch, they had nobody.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from flywheel.edge.runtime_api import LiveServer
from flywheel.edge.servers import BEHIND, ServerState

LINGER = 3.0
"""Seconds: longer than tries of one request take, a second each, until the first that fails takes a pod out."""

Wanted = Mapping[str, Mapping[str, ServerState]]
Running = Mapping[str, Mapping[str, LiveServer]]


class Leaving:
    """Remembers since when each backend is being left."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def held_back(self, wanted: Wanted, running: Running, active: Collection[str], now: float) -> Wanted:
        """Give the servers as they shall be for now: a backend that has just ceased to be active keeps its backups.

        Args:
            wanted: The servers of each backend, as the document says.
            running: Those that HAProxy has.
            active: The backends of active slots.
            now: Seconds of a clock that never jumps.
        """
        left = {
            name
            for name, servers in wanted.items()
            if name not in active and not _has_backups(servers) and _has_backups(running.get(name, {}))
        }
        self._since = {name: self._since.get(name, now) for name in left}
        held = {name for name, since in self._since.items() if now - since < LINGER}
        self._since = {name: since for name, since in self._since.items() if name in held}
        return {name: _held(servers) if name in held else servers for name, servers in wanted.items()}

    def ends_in(self, now: float) -> float | None:
        """Give the seconds until the next backend has been left; None where none is being left."""
        return min((max(0.0, since + LINGER - now) for since in self._since.values()), default=None)


def _has_backups(servers: Mapping[str, ServerState] | Mapping[str, LiveServer]) -> bool:
    return any(each.enabled for name, each in servers.items() if name.startswith(BEHIND))


def _held(servers: Mapping[str, ServerState]) -> dict[str, ServerState]:
    # Only while pods that fail are taken out does HAProxy come to the backups.
    return {name: replace(state, watched=True) for name, state in servers.items() if not name.startswith(BEHIND)}
