"""The key figures of all campaigns of a namespace: measured again and again, for Prometheus, status and people."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from flywheel.events.engine import EngineDown, EngineError
from flywheel.insight.gauges import Gauges, Measured
from flywheel.insight.kpi import DIMENSIONS, MOST_VALUES, WINDOWS
from flywheel.insight.measure import Queries, measure, measure_goal, measure_services
from flywheel.insight.settings import CampaignSettings, read_settings
from flywheel.insight.statuswriter import StatusWriter
from flywheel.insight.summary import summary

log = logging.getLogger(__name__)

INTERVAL = 15.0
SHARE = 0.05
"""Of the time may be spent on one window of one campaign: where a store has grown large, it is measured less often."""
BUILT_IN_CHANNELS = ("direct", "referral", "other")


class KpiService:
    """Measures one campaign after the other. One that fails does not stop the others, nor the taking in of rows."""

    def __init__(
        self,
        store: Queries,
        campaigns: Callable[[], Mapping[str, Any]],
        *,
        namespace: str,
        registry: CollectorRegistry,
        status: StatusWriter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make the loop; nothing is measured yet.

        Args:
            store: Where the events are.
            campaigns: Gives the entries of `campaigns.json` as they are now.
            namespace: Whose campaigns.
            registry: Where Prometheus looks.
            status: Writes the status of Campaigns.
            clock: Seconds since 1970.
        """
        self._store = store
        self._campaigns = campaigns
        self._status = status or StatusWriter(namespace)
        self._clock = clock
        self._due: dict[tuple[str, str], float] = {}
        self._complaints: dict[str, str] = {}
        self.measured: dict[str, Measured] = {}
        registry.register(Gauges(namespace, self.measured))

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            began = time.monotonic()
            await self.turn()
            await asyncio.sleep(max(1.0, INTERVAL - (time.monotonic() - began)))

    async def turn(self) -> None:
        """Measure each campaign once, as far as it is due."""
        known, wrong = read_settings(self._campaigns())
        for campaign, complaint in wrong.items():
            self._complain(campaign, complaint)
        self._forget_others(known)
        for campaign, settings in known.items():
            try:
                await self._measure(campaign, settings)
            except (EngineDown, EngineError, TimeoutError) as error:
                self._complain(campaign, f"{type(error).__name__}: {error}")
            except Exception:  # a fault of ours must not end the worker
                log.exception("The key figures of %s cannot be reckoned: this is a fault of ours.", campaign)
            else:
                self._complaints.pop(campaign, None)

    async def figures(self, campaign: str = "", window: str = "campaign", by: str = "") -> dict[str, Any]:
        """Measure now, for a person: one campaign, or all.

        Args:
            campaign: Its name; empty for all of the namespace.
            window: One of 1m, 15m, 1h, campaign; empty for all.
            by: One of channel, service, variant, region; empty for totals only.

        Raises:
            KeyError: There is no such campaign, window or dimension; the text says which there are.
        """
        known, _ = read_settings(self._campaigns())
        if campaign and campaign not in known:
            raise KeyError(f"There is no campaign {campaign!r} here. There are: {', '.join(sorted(known)) or 'none'}.")
        if window and window not in WINDOWS:
            raise KeyError(f"There is no window {window!r}: take one of {', '.join(WINDOWS)}.")
        if by and by not in DIMENSIONS:
            raise KeyError(f"Figures are not told apart by {by!r}: take one of {', '.join(DIMENSIONS)}.")
        dimension = next((each for each in DIMENSIONS if each == by), None)
        now = self._now()
        told = []
        for name in [campaign] if campaign else sorted(known):
            settings = known[name]
            windows = [
                (await measure(self._store, name, settings, each, now, dimension)).plain()
                for each in ([window] if window else WINDOWS)
            ]
            told.append({"campaign": name, "currency": settings.currency, "windows": windows})
        return {"campaigns": told}

    def _now(self) -> int:
        return int(self._clock() * 1000)

    async def _measure(self, campaign: str, settings: CampaignSettings) -> None:
        measured = self.measured.setdefault(campaign, Measured())
        measured.currency = settings.currency
        channels = (*settings.channels[: MOST_VALUES - len(BUILT_IN_CHANNELS)], *BUILT_IN_CHANNELS)
        for window in WINDOWS:
            began = time.monotonic()
            if began < self._due.get((campaign, window), 0.0):
                continue
            now = self._now()
            found = await measure(self._store, campaign, settings, window, now, "channel", channels)
            services = await measure_services(self._store, campaign, settings, window, now)
            if window == "campaign":
                measured.goal = await measure_goal(self._store, campaign, settings, now, found)
            measured.windows[window] = found
            measured.services[window] = services
            ended = time.monotonic()
            self._due[campaign, window] = ended + (ended - began) / SHARE - INTERVAL
        measured.succeeded_at = self._clock()
        told = summary(measured.windows, settings.currency, measured.goal)
        await self._status.write(campaign, settings.uid, told, self._clock())

    def _forget_others(self, known: Mapping[str, CampaignSettings]) -> None:
        for campaign in self.measured.keys() - known.keys():
            del self.measured[campaign]
        self._complaints = {name: text for name, text in self._complaints.items() if name in self._campaigns()}
        self._due = {key: due for key, due in self._due.items() if key[0] in known}
        self._status.keep_only({settings.uid for settings in known.values()})

    def _complain(self, campaign: str, complaint: str) -> None:
        if self._complaints.get(campaign) != complaint:
            self._complaints[campaign] = complaint
            log.warning("The key figures of %s cannot be measured and are tried again: %s", campaign, complaint)
