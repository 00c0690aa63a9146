"""A real Git server for tests: `git http-backend`, as web servers run it, behind Python's own HTTP server.

As a process of its own: `python -m tests.git_server --root /srv/git --bind 0.0.0.0 --port 8080 --push`.
"""

import argparse
import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from tests.answering import ManyAtOnce

CHUNK = 1 << 16
_GIT = ["git", "-c", "safe.directory=*"]


class GitServer:
    """Serves the repositories below a directory.

    >>> with GitServer(root) as server:
    ...     subprocess.run(["git", "clone", server.url("landing.git")])
    """

    def __init__(
        self,
        root: Path,
        *,
        bind: str = "127.0.0.1",
        port: int = 0,
        credentials: tuple[str, str] | None = None,
        push: bool = False,
        old_protocol: bool = False,
        redirects: Mapping[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """Make a server.

        Args:
            root: Where the repositories are.
            bind: The address to listen on.
            port: The port; 0 takes any that is free.
            credentials: User and password without which nothing is answered.
            push: Also take commits; from everybody, or from whoever has the credentials.
            old_protocol: Speak version 0 only, as servers do that are older than 2018.
            redirects: Beginnings of paths, and what takes their place.
            tls: Files with certificate and key, for https.
        """
        self.root = root
        self.credentials = credentials
        self.push = push
        self.old_protocol = old_protocol
        self.redirects = dict(redirects or {})
        self.requests: list[str] = []
        """Method and path of each request so far."""
        self._server = _Server((bind, port), self)
        self.scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def url(self, repository: str, host: str = "127.0.0.1") -> str:
        """The address of a repository."""
        return f"{self.scheme}://{host}:{self.port}/{repository}"

    def start(self) -> Self:
        """Serve in a thread."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join()

    def serve_forever(self) -> None:
        """Serve in this thread."""
        self._server.serve_forever()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def may(self, header: str | None) -> bool:
        """Whether somebody with this Authorization header may."""
        if self.credentials is None:
            return True
        expected = base64.b64encode(":".join(self.credentials).encode()).decode()
        return header == f"Basic {expected}"

    def environment(self, request: BaseHTTPRequestHandler) -> dict[str, str]:
        """What `git http-backend` is told of a request, by the rules of CGI."""
        where = urlsplit(request.path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "http.receivepack",
            "GIT_CONFIG_VALUE_1": "true" if self.push else "false",
            "PATH_INFO": unquote(where.path),
            "QUERY_STRING": where.query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "REMOTE_ADDR": request.client_address[0],
            "REMOTE_USER": self.credentials[0] if self.credentials else "",
        }
        if "Content-Encoding" in request.headers:
            environment["HTTP_CONTENT_ENCODING"] = request.headers["Content-Encoding"]
        if "Git-Protocol" in request.headers and not self.old_protocol:
            environment["GIT_PROTOCOL"] = request.headers["Git-Protocol"]
        return environment


class _Server(ManyAtOnce):
    def __init__(self, address: tuple[str, int], git: GitServer) -> None:
        super().__init__(address, _Handler)
        self.git = git


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        self.server.git.requests.append(f"{self.command} {self.path}")
        for beginning, target in self.server.git.redirects.items():
            if self.path.startswith(beginning):
                self._answer(302, {"Location": target + self.path.removeprefix(beginning)})
                return
        if not self.server.git.may(self.headers.get("Authorization")):
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
            return
        self._run()

    do_POST = do_GET  # noqa: N815

    def _answer(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _run(self) -> None:
        with subprocess.Popen(
            [*_GIT, "http-backend"],
            env=self.server.git.environment(self),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as backend:
            assert backend.stdin is not None
            assert backend.stdout is not None
            try:
                for piece in _body(self):
                    backend.stdin.write(piece)
                backend.stdin.close()
                self._pass_on(backend.stdout)
            except (BrokenPipeError, ConnectionResetError):
                backend.kill()

    def _pass_on(self, output: Any) -> None:
        headers: list[tuple[str, str]] = []
        while line := output.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers.append((name, value))
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        while piece := output.read(CHUNK):
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _body(request: BaseHTTPRequestHandler) -> Iterator[bytes]:
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        while size := int(request.rfile.readline().split(b";")[0], 16):
            yield request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return
    left = int(request.headers.get("Content-Length") or 0)
    while left:
        piece = request.rfile.read(min(CHUNK, left))
        if not piece:
            return
        left -= len(piece)
        yield piece


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Serve Git repositories over HTTP.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--user")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--push", action="store_true")
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    given = parser.parse_args()
    password = given.password_file.read_text().strip() if given.password_file else ""
    server = GitServer(
        given.root,
        bind=given.bind,
        port=given.port,
        credentials=(given.user, password) if given.user else None,
        push=given.push,
        tls=(given.tls_certificate, given.tls_key) if given.tls_certificate else None,
    )
    print(f"Git repositories below {given.root} at {server.url('', given.bind)}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
