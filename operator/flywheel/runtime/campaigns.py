"""Watching the campaigns into the store, and checking now and then that nothing was missed.

Kopf tells of changes, but it does not tell when its first list is complete, nor of an object that was deleted while its
watch was broken. A census settles both: a list of names and versions, compared with what the store holds.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import CAMPAIGN
from flywheel.plan import Manifest, ObjectKey
from flywheel.runtime.clock import Clock
from flywheel.runtime.kopf_thread import KopfThread
from flywheel.runtime.store import Owner, Store

log = logging.getLogger(__name__)

SOURCE = CAMPAIGN.name
CENSUS_EVERY = 120.0
GRACE = 5.0
"""Seconds that Kopf has to tell what the census saw."""
FRESH = 600.0


class CampaignFeed:
    """Keeps the store's campaigns up to date."""

    def __init__(
        self,
        gateway: Gateway,
        store: Store,
        namespaces: Sequence[str | None],
        clock: Clock,
        on_missed: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._namespaces = namespaces
        self._clock = clock
        self._on_missed = on_missed
        self._counted_at = clock.elapsed()
        self._error: ApiError | None = None
        self._relisted = asyncio.Event()
        self._kopf: KopfThread | None = None
        store.expect(SOURCE)

    @property
    def complaint(self) -> str | None:
        """Since when nothing is known to be complete, and why; None while all is well."""
        ago = self._clock.elapsed() - self._counted_at
        return f"could not be counted for {ago:.0f} s ({self._error or 'no error'})" if ago > FRESH else None

    @property
    def stuck(self) -> str | None:
        """That there is no progress and no trouble known, so that only a fresh start can help."""
        return self.complaint if self._error is None else None

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_kopf(), name="kopf")
            group.create_task(self._keep_counting(), name="census")

    def stop(self) -> None:
        """Ask Kopf to end."""
        if self._kopf is not None:
            self._kopf.stop()

    def _receive(self, event_type: str | None, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        if event_type == "DELETED":
            self._store.remove_campaign(metadata.get("namespace", ""), metadata["name"], metadata["uid"])
            return
        if event_type is None:
            self._relisted.set()
        self._store.put_campaign(manifest)

    async def _keep_kopf(self) -> None:
        while True:
            await self._wait_until_served()
            self._kopf = KopfThread(self._receive, self._namespaces)
            self._kopf.start()
            try:
                await self._kopf.wait()
                log.warning("Kopf has ended and is started again.")
            except Exception as error:  # noqa: BLE001 - whatever ended Kopf, it is started again
                log.warning("Kopf has ended and is started again: %s: %s", type(error).__name__, error)
            finally:
                self._kopf.stop()
            await asyncio.sleep(2)

    async def _wait_until_served(self) -> None:
        told = False
        while True:
            try:
                if await self._gateway.is_served(CAMPAIGN.group, CAMPAIGN.version, CAMPAIGN.kind):
                    return
                complaint = (
                    f"The cluster does not know {CAMPAIGN.name}. Install the CRDs of flywheel; waiting for them."
                )
            except ApiError as error:
                complaint = f"{error} Trying again."
            if not told:
                log.warning("%s", complaint)
                told = True
            await asyncio.sleep(1)

    async def _keep_counting(self) -> None:
        misses = 0
        while True:
            try:
                missed = await self._count()
            except ApiError as error:
                if self._error is None:
                    log.warning("The campaigns could not be counted and are tried again: %s", error)
                self._error = error
                await asyncio.sleep(2)
                continue
            self._counted_at, self._error = self._clock.elapsed(), None
            self._store.complete(SOURCE)
            misses = misses + 1 if missed else 0
            if misses >= 2 and self._kopf is not None:
                log.warning("Kopf's watch has missed changes twice in a row and is started again.")
                self._kopf.stop()
                misses = 0
            await self._wait_for_reason()

    async def _wait_for_reason(self) -> None:
        self._relisted.clear()
        try:
            async with asyncio.timeout(CENSUS_EVERY):
                await self._relisted.wait()
            # A list comes in many pieces; one census after it is enough.
            await asyncio.sleep(2)
        except TimeoutError:
            pass

    async def _count(self) -> int:
        """Bring the store up to a list of all names and versions; give how many changes nobody had told."""
        behind: dict[Owner, int] = {}
        for namespace in self._namespaces:
            uids: set[str] = set()
            version = 0
            async for page in self._gateway.list_all(CAMPAIGN, namespace, metadata_only=True):
                version = int(page["metadata"]["resourceVersion"])
                for item in page.get("items") or ():
                    metadata = item["metadata"]
                    uids.add(metadata["uid"])
                    behind[metadata["namespace"], metadata["name"]] = int(metadata["resourceVersion"])
            self._forget_vanished(namespace, uids, version)
        missed = await self._wait_for(behind)
        for namespace, name in missed:
            manifest = await self._gateway.get(ObjectKey(CAMPAIGN.group, CAMPAIGN.kind, namespace, name))
            if manifest is not None:
                self._on_missed(CAMPAIGN.kind)
                self._store.put_campaign(manifest)
        return len(missed)

    def _forget_vanished(self, namespace: str | None, uids: set[str], version: int) -> None:
        for held in list(self._store.campaigns()):
            metadata = held["metadata"]
            there = metadata["uid"] in uids or namespace not in (None, metadata["namespace"])
            if not there and int(metadata["resourceVersion"]) <= version:
                self._store.remove_campaign(metadata["namespace"], metadata["name"], metadata["uid"])

    async def _wait_for(self, listed: dict[Owner, int]) -> list[Owner]:
        """Give Kopf a little time to tell what was listed; give what it has not told by then."""
        deadline = self._clock.elapsed() + GRACE
        while True:
            behind = [owner for owner, version in listed.items() if self._version_of(owner) < version]
            if not behind or self._clock.elapsed() > deadline:
                return behind
            await asyncio.sleep(0.1)

    def _version_of(self, owner: Owner) -> int:
        held = self._store.campaign(*owner)
        return int(held["metadata"]["resourceVersion"]) if held is not None else 0
