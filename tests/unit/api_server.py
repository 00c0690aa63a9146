"""An API server that says what a test has written, for commands that find it by a kubeconfig."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol

import yaml
from tests.answering import answering


class Api(Protocol):
    """What is at the server, and how it behaves."""

    broken: int
    """How many requests get no answer."""

    def answer(self, method: str, target: str, body: dict[str, Any], /) -> tuple[int, dict[str, Any]]:
        """Give the status and the body of an answer."""


@contextmanager
def serving(api: Api, kubeconfig: Path) -> Iterator[None]:
    """Answer over HTTP, and write how to reach it."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            if api.broken:
                api.broken -= 1
                self.close_connection = True
                return
            status, answer = api.answer(self.command, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = handle_any  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as address:
        entry = {
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {"token": "own-token"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        kubeconfig.write_text(yaml.safe_dump(entry))
        yield
