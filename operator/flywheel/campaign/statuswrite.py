"""When a status is worth writing: at once when something happened, now and then when only numbers moved."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

INTERVAL = timedelta(seconds=15)
"""At most this often for numbers: each write wakes everybody who watches, Argo CD first."""


class StatusWrites:
    """Remembers when each status was last written."""

    def __init__(self) -> None:
        self._last: dict[str, datetime] = {}

    def due(self, uid: str, held: Mapping[str, Any], wanted: Mapping[str, Any], now: datetime) -> datetime | None:
        """Tell when `wanted` is to be written over `held`: None for never, as nothing differs; `now` for at once."""
        ours = {name: held.get(name) for name in wanted}
        dropped = [name for name in _OURS if name in held and name not in wanted]
        if ours == dict(wanted) and not dropped:
            return None
        last = self._last.get(uid)
        if dropped or last is None or _gist(ours) != _gist(wanted):
            return now
        return max(now, last + INTERVAL) if last <= now else now

    def written(self, uid: str, now: datetime) -> None:
        """Note that the status was written."""
        self._last[uid] = now

    def forget(self, uid: str) -> None:
        """Forget a Campaign that is gone."""
        self._last.pop(uid, None)


_OURS = (
    "releases",
    "stage",
    "nextTransition",
    "schedule",
    "transitions",
    "services",
    "edge",
    "inventory",
    "report",
    "conditions",
)


def _gist(status: Mapping[str, Any]) -> object:
    """Leave out what moves all the time: numbers of pods, and messages that count them."""
    conditions = [(each.get("type"), each.get("status"), each.get("reason")) for each in status.get("conditions") or []]
    services = [(each.get("name"), each.get("revision"), each.get("url")) for each in status.get("services") or []]
    edge = {name: value for name, value in (status.get("edge") or {}).items() if name not in ("pods", "applied")}
    rest = {name: value for name, value in status.items() if name not in ("conditions", "services", "edge")}
    return conditions, services, edge, rest
