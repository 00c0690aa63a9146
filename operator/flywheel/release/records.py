"""Reading revisions that were kept, and the ConfigMaps and Secrets by which pods are configured."""

import time
from collections import OrderedDict
from dataclasses import replace
from typing import Protocol

from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.plan import ObjectKey
from flywheel.release.revision import Configuration, Revision, configuration_of, read_record
from flywheel.release.work import Findings

MOST_RECORDS = 2000
CONFIGURATION_FRESH = 5.0
"""Seconds for which a configuration is not read again: one change of a Campaign means several looks at it."""
MOST_CONFIGURATIONS = 2000
FORBIDDEN = 403


class Asked(Protocol):
    """What is to be read."""

    @property
    def configurations(self) -> frozenset[tuple[str, str]]:
        """ConfigMaps and Secrets by kind and name."""

    @property
    def records(self) -> frozenset[str]:
        """Names of records."""


class Records:
    """Answers questions about revisions. A record never changes, so it is read once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._known: OrderedDict[tuple[str, str], Revision] = OrderedDict()
        self._read: OrderedDict[tuple[str, str, str], tuple[float, Configuration | ApiError | None]] = OrderedDict()

    async def answer(self, namespace: str, asked: Asked, findings: Findings) -> Findings:
        """Add what was asked for.

        Raises:
            ApiError: Something could not be read for now; what may not be read at all is said in the answer.
        """
        configurations = dict(findings.configurations)
        forbidden = set(findings.forbidden)
        for kind, name in sorted(asked.configurations):
            found = await self._configuration(namespace, kind, name)
            if isinstance(found, ApiError):
                forbidden.add((kind, name))
            configurations[kind, name] = None if isinstance(found, ApiError) else found
        records = dict(findings.records)
        for name in sorted(asked.records):
            records[name] = await self._record(namespace, name)
        return replace(findings, configurations=configurations, forbidden=frozenset(forbidden), records=records)

    async def _record(self, namespace: str, name: str) -> Revision | None:
        known = self._known.get((namespace, name))
        if known is not None:
            return known
        manifest = await self._gateway.get(ObjectKey("", "ConfigMap", namespace, name))
        revision = read_record(manifest) if manifest else None
        if revision is not None:
            self._known[namespace, name] = revision
            while len(self._known) > MOST_RECORDS:
                self._known.popitem(last=False)
        return revision

    async def _configuration(self, namespace: str, kind: str, name: str) -> Configuration | ApiError | None:
        key, now = (namespace, kind, name), time.monotonic()
        held = self._read.get(key)
        if held is not None and now - held[0] < CONFIGURATION_FRESH:
            return held[1]
        found: Configuration | ApiError | None
        try:
            manifest = await self._gateway.get(ObjectKey("", kind, namespace, name))
            found = configuration_of(kind, manifest) if manifest else None  # type: ignore[arg-type]
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            found = error
        self._read[key] = (now, found)
        self._read.move_to_end(key)
        while len(self._read) > MOST_CONFIGURATIONS:
            self._read.popitem(last=False)
        return found
