"""The sample application as processes on the loopback."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest
from tests.patience import PATIENCE
from tools.bootstrap import single

END_SECONDS = 120


class Server:
    """One instance of the application; its environment is its conduct."""

    def __init__(self, **conduct: str) -> None:
        environment = {"PATH": os.environ["PATH"], **conduct}
        command = [str(single.ensure_sample()), "serve", "--port=0"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        found = re.fullmatch(r"version \S+ listens on port (\d+)\n", line)
        if not found:
            said = self.process.stderr.read()
            self.close()
            raise AssertionError(f"it did not start: {line}{said}")
        self.port = int(found[1])

    def url(self, path: str = "/") -> str:
        """An address of it."""
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, path: str, method: str = "GET") -> httpx.Response:
        """One request on a connection of its own."""
        return httpx.request(method, self.url(path), timeout=PATIENCE, trust_env=False)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end and give its exit status."""
        return self.process.wait(END_SECONDS)

    def close(self) -> None:
        """Leave nothing of it."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(END_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start an instance; it ends with the test."""
    made: list[Server] = []

    def start(**conduct: str) -> Server:
        made.append(Server(**conduct))
        return made[-1]

    yield start
    for each in made:
        each.close()
