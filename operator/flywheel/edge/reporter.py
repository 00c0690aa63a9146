"""Telling the operator what this pod has applied: one entry of a ConfigMap, written only when it says something new."""

import asyncio
import logging
import random

import msgspec

from flywheel.edge.document import Applied
from flywheel.edge.naming import applied_name
from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 500
LONGEST_PAUSE = 30.0


class Reporter:
    """Writes the entry of one pod, and tries until the API server has it."""

    def __init__(self, namespace: str, campaign: str, pod: str) -> None:
        self._namespace = namespace
        self._name = applied_name(campaign)
        self._pod = pod
        self._wanted: Applied | None = None
        self._written: tuple[str, str] | None = None
        self._news = asyncio.Event()
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing

    def tell(self, applied: Applied) -> None:
        """Have an entry written, if it differs from the last in more than its time and words."""
        self._wanted = applied
        self._news.set()

    async def run(self, gateway: Gateway) -> None:
        """Write until cancelled."""
        self._news.set()
        failures = 0
        while True:
            await self._news.wait()
            self._news.clear()
            wanted = self._wanted
            if wanted is None or _essence(wanted) == self._written:
                continue
            try:
                await self._write(gateway, wanted)
            except ApiError as error:
                failures += 1
                longest = min(LONGEST_PAUSE, 0.25 * 2.0 ** min(failures, 10))
                level = logging.WARNING if failures == 3 else logging.DEBUG
                log.log(level, "What is applied cannot be told to the operator, and is tried again: %s", error)
                await asyncio.sleep(self._random.uniform(longest / 2, longest))
                self._news.set()
            else:
                failures = 0
                self._written = _essence(wanted)

    async def _write(self, gateway: Gateway, applied: Applied) -> None:
        if applied.trouble is not None and len(applied.trouble.message) > LONGEST_MESSAGE:
            shorter = msgspec.structs.replace(applied.trouble, message=applied.trouble.message[:LONGEST_MESSAGE] + "…")
            applied = msgspec.structs.replace(applied, trouble=shorter)
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "data": {self._pod: msgspec.json.encode(applied).decode()},
        }
        # Of a manager of this pod's own: entries of other pods are none of its business.
        await gateway.apply(manifest, field_manager=f"flywheel-edge-{self._pod}"[:128])


def _essence(applied: Applied) -> tuple[str, str]:
    return applied.generation, applied.trouble.reason if applied.trouble else ""
