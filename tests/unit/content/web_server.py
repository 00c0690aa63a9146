"""A running nginx, started by the command that starts it in a pod."""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE
from tests.ports import free_port

from flywheel.release.content.serve import ServeOptions

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """A running nginx."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.options.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())

    def say(self, raw: bytes) -> bytes:
        """Send bytes as they are, and return the beginning of the answer."""
        with socket.create_connection(("127.0.0.1", self.options.port), 10) as connection:
            connection.sendall(raw)
            return connection.recv(4096)


@contextlib.contextmanager
def running(root: Path, tmp_path: Path, **changes: Any) -> Iterator[tuple[Site, subprocess.Popen[bytes]]]:
    """Run `flywheel content-serve`, which becomes nginx."""
    temporary = tmp_path / f"tmp-{len(list(tmp_path.iterdir()))}"
    temporary.mkdir()
    options = ServeOptions(root=str(root), port=free_port(), revision="c" * 40, temporary=str(temporary), **changes)
    command = [
        *[sys.executable, "-m", "tests.unit.content.serve_command", f"--root={root}", f"--port={options.port}"],
        *[f"--revision={options.revision}", f"--temporary={temporary}", f"--nginx={_nginx(temporary)}"],
        *[f"--cache={options.cache_seconds}s"],
        *(["--spa-fallback"] if options.spa_fallback else []),
        *([] if options.from_git else ["--from-image"]),
    ]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": "operator:."}) as process:
        try:
            _until_it_listens(options.port, process)
            yield Site(options), process
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _nginx(directory: Path) -> Path:
    """As root, nginx gives its workers another user, who does not get to the directories of a test: they stay root."""
    if os.geteuid() != 0:
        return Path(NGINX)
    script = directory / "nginx"
    script.write_text(f"#!/bin/sh\nexec {NGINX} \"$@\" -g 'user root;'\n")
    script.chmod(0o755)
    return script


def _until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, "nginx did not start"
        assert time.monotonic() < deadline, "nginx does not listen"
        time.sleep(0.02)
