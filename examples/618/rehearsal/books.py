"""Asks everybody who counted the sale: the shop's store, the event store's worker, and the report that stays."""

import json
import sys
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.lab.cluster.client import Cluster, CommandFailedError

from flywheel.events.naming import WORKER
from rehearsal.accounts import Account, Accounts, of_shop, of_worker
from rehearsal.observer import Observer
from rehearsal.snapshot import Manifest

STORE, STORE_PORT = "store", 8080
VISITORS = "campaign_visitors_by_channel"
FLYWHEEL = str(Path(sys.executable).with_name("flywheel"))


class Books:
    """The accounts of campaign `name`."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name

    async def of_shop(self, observer: Observer) -> Account | None:
        """Ask the shop's store; None while it cannot be asked."""
        services = f"/api/v1/namespaces/{self._namespace}/services"
        try:
            figures = await observer.get(f"{services}/{self._name}-{STORE}:{STORE_PORT}/proxy/figures")
        except httpx.HTTPError:
            return None
        return of_shop(figures) if figures else None

    async def channels(self, observer: Observer) -> dict[str, int]:
        """Ask the worker for the visitors of each channel, as Prometheus would; empty while it cannot be asked."""
        services = f"/api/v1/namespaces/{self._namespace}/services"
        try:
            text = await observer.text(f"{services}/{WORKER}:metrics/proxy/metrics")
            return visitors_by_channel(text, self._name)
        except (httpx.HTTPError, ValueError):
            return {}

    def complete(self, accounts: Accounts) -> Manifest | None:
        """Ask the worker, as a person would, and read the report: it is returned, None where there is none."""
        command = [FLYWHEEL, "kpis", self._name, "-n", self._namespace, "--window", "campaign", "-o", "json"]
        try:
            accounts.campaign = of_worker(json.loads(self._cluster.run(command)))
        except (CommandFailedError, ValueError, LookupError):
            accounts.campaign = None
        name, path = f"{self._name}-report", r"jsonpath={.data.report\.json}"
        text = self._cluster.kubectl("get", "configmap", name, "-n", self._namespace, "-o", path, check=False)
        try:
            report: Manifest = json.loads(text)
        except ValueError:
            return None
        accounts.report = report.get("kpis")
        return report


def visitors_by_channel(text: str, campaign: str) -> dict[str, int]:
    """Find the visitors of each channel over the whole campaign in what a worker tells Prometheus.

    Raises:
        ValueError: it is not in Prometheus' format.
    """
    lines = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(VISITORS))
    wanted = {"campaign": campaign, "window": "campaign"}
    return {
        sample.labels["channel"]: int(sample.value)
        for family in text_string_to_metric_families(lines)
        for sample in family.samples
        if wanted.items() <= sample.labels.items() and sample.value
    }
