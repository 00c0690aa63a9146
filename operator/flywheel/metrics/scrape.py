"""Reading the counters of all edge pods every few seconds."""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from flywheel.edge.naming import COMPONENT, SIDECAR_PORT
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import POD
from flywheel.kube.watch import Change, Synced, Watch
from flywheel.metrics.exposition import read_counters
from flywheel.metrics.rates import STALE, WINDOW, Reading, Readings
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, Manifest

log = logging.getLogger(__name__)

SELECTOR = f"app.kubernetes.io/component={COMPONENT},{MANAGED_BY_LABEL}=flywheel"
INTERVAL = 5.0
TIMEOUT = 3.0
AT_ONCE = 32
LARGEST_ANSWER = 8 << 20
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class EdgePod:
    """Where one pod of an edge is read. Whose it is, its labels say, and not what it answers."""

    uid: str
    namespace: str
    campaign: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Value:
    """One figure of one campaign, and when and over how long it was measured."""

    campaign: str
    per_second: float
    window: float
    measured_at: datetime


class EdgeRates:
    """The edge pods as they are now, and what they have counted lately."""

    def __init__(self, window: float = WINDOW, interval: float = INTERVAL, port: int = SIDECAR_PORT) -> None:
        self._interval = interval
        self._port = port
        self._readings = Readings(window, max(STALE, 3 * interval))
        self._pods: dict[str, EdgePod] = {}
        self._unread: set[str] = set()
        self._measured_at: datetime | None = None
        self.synced = False
        """Whether the pods are known."""

    async def follow(self, gateway: Gateway, namespace: str | None) -> None:
        """Follow the edge pods of one namespace, or of the cluster, for ever."""
        async for event in Watch(gateway, POD, namespace, SELECTOR).events():
            if isinstance(event, Change):
                self.note(event.manifest, gone=event.type == "Deleted")
            else:
                self._drop_unlisted(event, namespace)
                self.synced = True

    def note(self, manifest: Manifest, *, gone: bool = False) -> None:
        """Take notice of one pod as it is now."""
        uid = manifest["metadata"]["uid"]
        pod = None if gone else _edge_pod(manifest)
        if pod is None:
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = pod

    def _drop_unlisted(self, synced: Synced, namespace: str | None) -> None:
        for uid, pod in list(self._pods.items()):
            if uid not in synced.uids and namespace in (None, pod.namespace):
                del self._pods[uid]

    async def read_forever(self) -> None:
        """Read every pod every few seconds."""
        limit = aiohttp.ClientTimeout(total=TIMEOUT)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(timeout=limit, connector=connector, trust_env=False) as session:
            while True:
                started = time.monotonic()
                await self.read(session)
                await asyncio.sleep(max(0.0, started + self._interval - time.monotonic()))

    async def read(self, session: aiohttp.ClientSession) -> None:
        """Read every pod once."""
        slots = asyncio.Semaphore(AT_ONCE)
        self._readings.keep_only(self._pods)
        await asyncio.gather(*(self._read(session, slots, pod) for pod in list(self._pods.values())))
        self._unread &= self._pods.keys()
        self._measured_at = datetime.now(UTC)

    async def _read(self, session: aiohttp.ClientSession, slots: asyncio.Semaphore, pod: EdgePod) -> None:
        url = f"http://{pod.address}:{self._port}/metrics"
        async with slots:
            try:
                counters = read_counters(await _text(session, url))
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                if pod.uid not in self._unread:
                    reason = str(error) or type(error).__name__
                    log.warning("The counters of pod %s/%s cannot be read: %s", pod.namespace, pod.name, reason)
                self._unread.add(pod.uid)
                return
        self._unread.discard(pod.uid)
        self._readings.add(pod.uid, Reading(time.monotonic(), counters))

    def value(self, namespace: str, campaign: str, metric: str, subject: str) -> Value | None:
        """Return a figure of a campaign, or None where it is not known."""
        pods = [pod.uid for pod in self._pods.values() if pod.namespace == namespace and pod.campaign == campaign]
        rate = self._readings.rate((metric, subject), pods, time.monotonic())
        if rate is None or self._measured_at is None:
            return None
        return Value(campaign, rate.per_second, rate.window, self._measured_at)

    @property
    def pods(self) -> Iterable[EdgePod]:
        """The pods that are read."""
        return self._pods.values()

    @property
    def unread(self) -> int:
        """How many of them could not be read the last time."""
        return len(self._unread)


async def _text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"it answers {response.status}")
        content = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK):
            content += chunk
            if len(content) > LARGEST_ANSWER:
                raise ValueError(f"its answer has more than {LARGEST_ANSWER} bytes")
        return content.decode("utf-8", "replace")


def _edge_pod(manifest: Manifest) -> EdgePod | None:
    """Read where a pod is; None while it gets no visitors or has no address."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    campaign = (metadata.get("labels") or {}).get(CAMPAIGN_LABEL)
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    if not campaign or not ready or metadata.get("deletionTimestamp"):
        return None
    try:
        address = ipaddress.ip_address(status.get("podIP", ""))
    except ValueError:
        return None
    host = f"[{address}]" if address.version == 6 else str(address)
    return EdgePod(metadata["uid"], metadata["namespace"], campaign, metadata["name"], host)
