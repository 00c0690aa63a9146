"""The shop's real processes on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.patience import PATIENCE

SHOP = Path(__file__).parents[3] / "examples" / "shop"


class StartService:
    """Starts services of the shop, each with its own log file beside the store's data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __call__(self, service: str, **variables: str) -> str:
        """Start `service` with these environment variables, wait until it is ready, and return its address."""
        address = self.begin(service, **variables)
        self.wait_for(address)
        return address

    def wait_for(self, *addresses: str) -> None:
        """Wait until the services at `addresses` are ready."""
        for address in addresses:
            wait_until(lambda at=address: _ready(self.processes[at], at), f"{address} is ready")  # type: ignore[misc]

    def begin(self, service: str, **variables: str) -> str:
        """Start `service` and return its address at once."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SHOP),
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(port),
            "DATA_DIRECTORY": str(self._folder),
            "DRAIN_SECONDS": "0",
            "STORE_SECONDS": str(PATIENCE),
            "TICKET_ROUNDS": "10",
        }
        address = f"http://127.0.0.1:{port}"
        with (self._folder / f"{service}-{port}.log").open("wb") as log:
            self.processes[address] = subprocess.Popen(
                [sys.executable, "-m", "shop", service], env=environment | variables, stdout=log, stderr=log
            )
        return address

    def stop(self) -> None:
        """Stop them all and wait for their end."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(timeout=PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartService]:
    """Start services of the shop; all are stopped at the end."""
    services = StartService(tmp_path)
    try:
        yield services
    finally:
        services.stop()


def _ready(process: subprocess.Popen[bytes], address: str) -> bool:
    assert process.poll() is None, f"the service stopped with exit code {process.returncode}"
    try:
        return httpx.get(f"{address}/readyz", timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
