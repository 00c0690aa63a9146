"""The few questions that the lab itself asks its API server."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.lab.cluster.paths import Lab

REQUEST_SECONDS = 5


class Api:
    """Reads from the API server of a lab as its administrator, through the forwarder."""

    def __init__(self, lab: Lab, url: str) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(lab.pki / "ca.crt"))
        self._context.load_cert_chain(lab.pki / "admin.crt", lab.pki / "admin.key")
        # A proxy that the machine uses for the outside is no way to its own loopback.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )

    def ready(self) -> bool:
        """Return whether the API server says that it is ready."""
        return self._get("/readyz") == b"ok"

    def node_ready(self, name: str) -> bool:
        """Return whether the node takes pods."""
        conditions = self._object(f"/api/v1/nodes/{name}").get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def accepts_pods(self, namespace: str = "default") -> bool:
        """Return whether the service account exists without which no pod can be created."""
        return bool(self._object(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))

    def _object(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get(path) or b"{}")
        return found

    def _get(self, path: str) -> bytes:
        try:
            with self._opener.open(self._url + path, timeout=REQUEST_SECONDS) as answer:
                content: bytes = answer.read()
                return content
        except (urllib.error.URLError, OSError):
            return b""


def wait_until(holds: Callable[[], object], what: str, seconds: float) -> None:
    """Ask again every 50 ms until `holds`.

    Raises:
        TimeoutError: it did not within `seconds`; the message says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)
