"""A real Prometheus in the network of the lab, what it reads, and a door before it that wants a token."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
from tests.asking import PLAIN
from tests.e2e.network import Answering, first_process, within
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.paths import NODE_ADDRESS

SECONDS = 60.0
POLL = 0.1
CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: shop
  static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """Reads once a second how many requests fail in each slot, as the test says."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        """Start it.

        Args:
            cluster: In whose network it is.
            token: What the door wants.
        """
        self.cluster, self.token = cluster, token
        self.ratios: dict[str, float] = {}
        """By slot; one that is not there has no series."""
        self._exporter = Answering(cluster, self._exporting())
        self._directory = tempfile.TemporaryDirectory(prefix="prometheus-")
        self.address = f"{NODE_ADDRESS}:{within(cluster, _free_port)}"
        self._process = self._start(Path(self._directory.name))
        self._door = Answering(cluster, self._guarding())

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://{self.address}"

    @property
    def guarded_url(self) -> str:
        """That of the door."""
        return f"http://{self._door.address}"

    def knows(self, ratios: Mapping[str, float]) -> None:
        """Let these be the figures, and wait until it has read them."""
        self.ratios = dict(ratios)
        deadline = time.monotonic() + SECONDS
        while (found := self._read()) != self.ratios:
            assert time.monotonic() < deadline, f"Prometheus knows {found} instead of {self.ratios}"
            time.sleep(POLL)

    def stop(self) -> None:
        """End all of it."""
        self._door.stop()
        self._process.terminate()
        self._process.wait(SECONDS)
        self._exporter.stop()
        self._directory.cleanup()

    def _start(self, directory: Path) -> subprocess.Popen[bytes]:
        (directory / "prometheus.yml").write_text(CONFIG.format(target=self._exporter.address))
        options = [f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}"]
        options += [f"--web.listen-address={self.address}", "--log.level=error"]
        enter = ["nsenter", "--net", f"--target={first_process(self.cluster)}"]
        return subprocess.Popen([*enter, "prometheus", *options], cwd=directory)

    def _read(self) -> dict[str, float] | None:
        try:
            answer = within(
                self.cluster,
                lambda: httpx.get(f"{self.url}/api/v1/query?query=shop_failed_ratio", timeout=5, verify=PLAIN),
            )
        except httpx.HTTPError:
            return None
        found = answer.json().get("data", {}).get("result", [])
        return {each["metric"]["slot"]: float(each["value"][1]) for each in found}

    def _exporting(self) -> type[BaseHTTPRequestHandler]:
        made = self

        class Exporting(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lines = [f'shop_failed_ratio{{slot="{slot}"}} {value}\n' for slot, value in made.ratios.items()]
                _answer(self, 200, "".join(lines).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Exporting

    def _guarding(self) -> type[BaseHTTPRequestHandler]:
        made = self

        class Guarding(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Authorization") != f"Bearer {made.token}":
                    _answer(self, 401, b"who are you?")
                    return
                headers = {"Content-Type": self.headers["Content-Type"]}
                answer = httpx.post(f"{made.url}{self.path}", content=body, headers=headers, timeout=5, verify=PLAIN)
                _answer(self, answer.status_code, answer.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Guarding


def _answer(request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _free_port() -> int:
    with socket.create_server((NODE_ADDRESS, 0)) as probe:
        return int(probe.getsockname()[1])
