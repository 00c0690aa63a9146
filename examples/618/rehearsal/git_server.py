"""A small Git server for the demo: one bare repository over HTTP, to clone and to push. It runs in a pod, by itself.

    python git_server.py /srv/git/landing.git 8080

Whoever reaches it may push, so it is for a demo and nothing else.
"""

import sys
from socketserver import ThreadingMixIn
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich.repo import Repo
from dulwich.server import DictBackend, UploadPackHandler
from dulwich.web import make_wsgi_chain


class Clone(UploadPackHandler):
    """Dulwich turns away who cannot take thin packs, although it sends none: these, too, may clone."""

    @classmethod
    def required_capabilities(cls) -> tuple[bytes, ...]:
        return tuple(each for each in super().required_capabilities() if each != b"thin-pack")


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each call: one that opens a connection and says nothing keeps nobody waiting.

    Dozens may wait to be accepted at once, where Python's own lets five.
    """

    daemon_threads = True
    request_queue_size = 64
    repository: Repo

    def server_close(self) -> None:
        super().server_close()
        self.repository.close()


class Calls(WSGIRequestHandler):
    """One line a call, and no look-up of the caller's name, which may take its time."""

    timeout = 20

    def address_string(self) -> str:
        return str(self.client_address[0])


def make(directory: str, host: str, port: int) -> Server:
    """Make a bare repository and a server that has it below its directory's name."""
    repository = Repo.init_bare(directory, mkdir=True)
    repository.refs.set_symbolic_ref(cast("Any", b"HEAD"), cast("Any", b"refs/heads/main"))
    name = "/" + directory.rstrip("/").rpartition("/")[2]
    handlers = {b"git-upload-pack": Clone}
    application = make_wsgi_chain(DictBackend(cast("Any", {name: repository})), handlers=cast("Any", handlers))
    server = make_server(host, port, cast("Any", application), server_class=Server, handler_class=Calls)
    server.repository = repository
    return server


if __name__ == "__main__":
    make(sys.argv[1], "0.0.0.0", int(sys.argv[2])).serve_forever()
