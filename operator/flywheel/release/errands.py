"""Errands to pods: telling them to send keep-alive clients away, and trying whether an address answers."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import POD
from flywheel.release.naming import revision_selector
from flywheel.release.work import Pods, Probing, Telling

log = logging.getLogger(__name__)

TELL_TIMEOUT = 2.0
TELL_ATTEMPTS = 3
AT_ONCE = 20
PROBE_TIMEOUT = 2.0
PROBE_PAUSE = 0.5
LONGEST_PAUSE = 10.0
MOST_ERRANDS = 2000
"""Errands at once, of all Campaigns; others wait until they are wanted again."""

Key = tuple[str, str, Pods]
"""Uid of the Campaign, kind of the errand, and the pods that it is about."""


class Errands:
    """Runs each errand once for as long as it is wanted. For one event loop."""

    def __init__(self, gateway: Gateway, client: httpx.AsyncClient, on_done: Callable[[str, str], None]) -> None:
        """Make the runner of errands.

        Args:
            gateway: Where pods are looked up.
            client: Calls pods; it stays the caller's to close.
            on_done: Told namespace and name of the Campaign whenever an errand is done.
        """
        self._gateway = gateway
        self._client = client
        self._on_done = on_done
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._done: set[Key] = set()

    def drained(self, uid: str) -> frozenset[Pods]:
        """Pods that were told to send clients away."""
        return self._of(uid, "drain")

    def resumed(self, uid: str) -> frozenset[Pods]:
        """Pods that were told that this is over."""
        return self._of(uid, "resume")

    def reachable(self, uid: str) -> frozenset[Pods]:
        """Pods whose address has answered."""
        return self._of(uid, "probe")

    def _of(self, uid: str, kind: str) -> frozenset[Pods]:
        return frozenset(pods for owner, of, pods in self._done if (owner, of) == (uid, kind))

    def want(
        self, uid: str, namespace: str, name: str, telling: tuple[Telling, ...], probing: tuple[Probing, ...]
    ) -> None:
        """Take what is wanted for a Campaign now; anything else of it is ended and forgotten."""
        wanted: dict[Key, Callable[[], Coroutine[Any, Any, None]]] = {}
        for tell in telling:
            wanted[uid, "resume" if tell.resume else "drain", tell.pods] = _bound(self._tell, namespace, name, tell)
        for probe in probing:
            wanted[uid, "probe", probe.pods] = _bound(self._probe, probe)
        for key in [each for each in self._tasks if each[0] == uid and each not in wanted]:
            self._tasks.pop(key).cancel()
        self._done = {each for each in self._done if each[0] != uid or each in wanted}
        for key, start in wanted.items():
            if key not in self._tasks and key not in self._done and len(self._tasks) < MOST_ERRANDS:
                self._tasks[key] = asyncio.create_task(self._run(key, namespace, name, start), name=f"errand {key}")

    async def close(self) -> None:
        """End all errands."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, namespace: str, name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await start()
        except Exception:
            log.exception("An errand ended by a fault of ours: %s", key)
        if self._tasks.get(key) is asyncio.current_task():
            del self._tasks[key]
            self._done.add(key)
            self._on_done(namespace, name)

    async def _tell(self, namespace: str, name: str, tell: Telling) -> None:
        addresses = await self._addresses(namespace, name, tell.pods)
        turns = asyncio.Semaphore(AT_ONCE)
        path = tell.drain.path if not tell.resume else tell.drain.resume_path or ""
        told = await asyncio.gather(*(self._post(each, tell.port, path, turns) for each in addresses))
        deaf = [address for address, heard in zip(addresses, told, strict=True) if not heard]
        if deaf:
            log.warning("%d of %d pods of %s did not answer POST %s.", len(deaf), len(addresses), tell.pods, path)

    async def _addresses(self, namespace: str, name: str, pods: Pods) -> list[str]:
        labels = revision_selector(name, pods.service, pods.slot, pods.revision)
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found: list[str] = []
        for attempt in range(TELL_ATTEMPTS):
            try:
                async for page in self._gateway.list_all(POD, namespace, selector):
                    found += [str(each["status"]["podIP"]) for each in page["items"] if _is_running(each)]
            except ApiError as error:
                log.info("Pods of %s cannot be listed, attempt %d: %s", pods, attempt + 1, error)
                found = []
                await asyncio.sleep(self._random.uniform(0.5, 1.5) * 2**attempt)
            else:
                return found
        return found

    async def _post(self, address: str, port: int, path: str, turns: asyncio.Semaphore) -> bool:
        host = f"[{address}]" if ":" in address else address
        async with turns:
            for attempt in range(TELL_ATTEMPTS):
                try:
                    answer = await self._client.post(f"http://{host}:{port}{path}", timeout=TELL_TIMEOUT)
                except httpx.HTTPError as error:
                    log.debug("POST %s of %s: %s", path, address, error)
                else:
                    if answer.status_code < 500:
                        return answer.status_code < 400
                await asyncio.sleep(self._random.uniform(0.05, 0.15) * 2**attempt)
        return False

    async def _probe(self, probe: Probing) -> None:
        """Try to connect until it works, or nobody wants to know any more."""
        pause = PROBE_PAUSE
        while True:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT):
                    _, writer = await asyncio.open_connection(probe.host, probe.port)
            except (OSError, TimeoutError) as error:
                log.debug("%s:%d does not answer: %s", probe.host, probe.port, error)
                await asyncio.sleep(self._random.uniform(pause / 2, pause))
                pause = min(LONGEST_PAUSE, pause * 1.5)
                continue
            writer.close()
            return


def _bound(
    call: Callable[..., Coroutine[Any, Any, None]], *arguments: object
) -> Callable[[], Coroutine[Any, Any, None]]:
    return lambda: call(*arguments)


def _is_running(pod: dict[str, Any]) -> bool:
    status = pod.get("status") or {}
    return (
        bool(status.get("podIP")) and status.get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
    )
