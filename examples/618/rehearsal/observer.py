"""Reads a campaign and its children once a second, cheaply: through one `kubectl proxy` on a private socket.

kubectl brings every way of signing in to a cluster with it; a Unix socket keeps the open door to ourselves.
"""

import asyncio
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from tests.lab.cluster.client import Cluster, CommandFailedError

from rehearsal.snapshot import Manifest, Snapshot, snapshot

LABEL = "flywheel.dev/campaign"
PROXY_SECONDS = 10


class Observer:
    """The campaign `name` in `namespace`, as the API server has it now."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="flywheel-")
        socket = Path(self._folder.name) / "api"
        self._proxy = subprocess.Popen(  # noqa: ASYNC220 - it only starts here, which does not wait
            ["kubectl", "proxy", f"--unix-socket={socket}"],
            env=self._cluster.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._http = httpx.AsyncClient(
            base_url="http://localhost", transport=httpx.AsyncHTTPTransport(uds=str(socket)), timeout=10
        )
        async with asyncio.timeout(PROXY_SECONDS):
            while not socket.exists():
                if self._proxy.poll() is not None:
                    raise CommandFailedError(f"kubectl proxy ended with code {self._proxy.returncode}")
                await asyncio.sleep(0.05)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()
        self._proxy.terminate()
        await asyncio.to_thread(self._proxy.wait)
        self._folder.cleanup()

    async def get(self, path: str) -> Manifest | None:
        """Read `path` of the API server; None where there is nothing.

        Raises:
            httpx.HTTPError: the API server cannot be reached or refuses.
        """
        response = await self._http.get(path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        found: Manifest = response.json()
        return found

    async def text(self, path: str) -> str:
        """Read what is no JSON, such as a log; empty where there is nothing.

        Raises:
            httpx.HTTPError: the API server cannot be reached.
        """
        response = await self._http.get(path)
        return response.text if response.is_success else ""

    async def said_by(self, job: str, *, lines: int, stamped: bool = False) -> str:
        """Read the last lines that the pods of a Job have printed, with their times if `stamped`; empty without any.

        Raises:
            httpx.HTTPError: the API server cannot be reached or refuses.
        """
        pods = f"/api/v1/namespaces/{self._namespace}/pods"
        found = await self._items(f"{pods}?labelSelector=batch.kubernetes.io%2Fjob-name%3D{job}")
        asked = f"log?tailLines={lines}{'&timestamps=true' if stamped else ''}"
        return "".join([await self.text(f"{pods}/{pod['metadata']['name']}/{asked}") for pod in found])

    async def look(self) -> Snapshot | None:
        """Take a snapshot; None while the campaign does not exist."""
        mine = f"?labelSelector={LABEL}%3D{self._name}"
        space = f"namespaces/{self._namespace}"
        campaign, deployments, autoscalers, events, abtests = await asyncio.gather(
            self.get(f"/apis/flywheel.dev/v1alpha1/{space}/campaigns/{self._name}"),
            self._items(f"/apis/apps/v1/{space}/deployments{mine}"),
            self._items(f"/apis/autoscaling/v2/{space}/horizontalpodautoscalers{mine}"),
            self._items(f"/apis/events.k8s.io/v1/{space}/events"),
            self._items(f"/apis/flywheel.dev/v1alpha1/{space}/abtests"),
        )
        mine_too = [each for each in abtests if each["spec"]["campaign"] == self._name]
        return snapshot(campaign, deployments, autoscalers, filter(_is_news, events), mine_too) if campaign else None

    async def _items(self, path: str) -> list[dict[str, Any]]:
        found = await self.get(path)
        return found["items"] if found else []


def _is_news(event: Manifest) -> bool:
    kind = event.get("regarding", {}).get("kind")
    return kind == "Campaign" or (kind == "HorizontalPodAutoscaler" and event.get("reason") == "SuccessfulRescale")
