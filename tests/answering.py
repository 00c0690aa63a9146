"""Small HTTP servers on loopback, for what is told or asked by HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ManyAtOnce(ThreadingHTTPServer):
    """A thread for each connection; those that are left open end with the tests.

    Python's own lets five wait to be accepted. The kernel takes the sixth for half an attack, and what it says may then
    be lost and sent again, for minutes.
    """

    daemon_threads = True
    request_queue_size = 512


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer with a handler, and give the address."""
    with ManyAtOnce(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
