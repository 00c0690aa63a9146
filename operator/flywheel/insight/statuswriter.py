"""Writing `status.kpis` of Campaigns: seldom, and only when it says something new."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from flywheel.insight.summary import differs
from flywheel.kube.errors import ApiError, LoginError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import CAMPAIGN

log = logging.getLogger(__name__)

FIELD_MANAGER = "flywheel-kpis"
INTERVAL = 15.0
"""Seconds between two writes of one Campaign: each wakes everybody who watches it."""


class Applies(Protocol):
    """The gateway, as far as it is needed here."""

    async def apply(
        self, manifest: dict[str, Any], *, subresource: str | None = None, field_manager: str = ""
    ) -> dict[str, Any]:
        """Apply on the server's side."""


class StatusWriter:
    """Remembers what was written, so that an unchanged summary costs nothing."""

    def __init__(self, namespace: str, gateway: Applies | None = None) -> None:
        """Make a writer.

        Args:
            namespace: Where the Campaigns are.
            gateway: The way to the API server; by default one of its own, with the pod's credentials.
        """
        self._namespace = namespace
        self._gateway = gateway
        self._written: dict[str, tuple[float, dict[str, Any]]] = {}
        self._complaint = ""

    async def write(self, campaign: str, uid: str, kpis: Mapping[str, Any], now: float) -> bool:
        """Write the summary of a Campaign if it is due, and tell whether it was written.

        Args:
            campaign: Name of the Campaign.
            uid: That very Campaign; another one of the same name is left alone.
            kpis: `status.kpis` without its `updatedAt`.
            now: Seconds since 1970.
        """
        at, last = self._written.get(uid, (now - INTERVAL, None))
        # After the clock was set back, waiting for it would take as long as it went.
        if not uid or not differs(last, kpis) or 0 <= now - at < INTERVAL:
            return False
        moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        manifest = {
            "apiVersion": CAMPAIGN.api_version,
            "kind": CAMPAIGN.kind,
            "metadata": {"name": campaign, "namespace": self._namespace, "uid": uid},
            "status": {"kpis": {"updatedAt": moment, **kpis}},
        }
        # Counts as a write in any case: what was refused is not tried more often than what was taken.
        self._written[uid] = (now, last or {})
        try:
            gateway = await self._connected()
            await gateway.apply(manifest, subresource="status", field_manager=FIELD_MANAGER)
        except (ApiError, LoginError) as error:
            self._complain(campaign, error)
            return False
        self._written[uid] = (now, dict(kpis))
        self._complaint = ""
        return True

    def keep_only(self, uids: set[str]) -> None:
        """Forget Campaigns that are gone."""
        self._written = {uid: known for uid, known in self._written.items() if uid in uids}

    async def _connected(self) -> Applies:
        if self._gateway is None:
            self._gateway = await Gateway.connect(connections=2)
        return self._gateway

    def _complain(self, campaign: str, error: Exception) -> None:
        if isinstance(error, ApiError) and (error.is_not_found or error.is_conflict):
            return
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.warning("The key figures of %s/%s cannot be written: %s", self._namespace, campaign, error)
