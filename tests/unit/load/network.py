"""What lies between a load and its servers: a way that can be led elsewhere, and a server with bad manners."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal

ADDRESS = "127.0.0.1"
CHUNK = 65536
SECONDS = 30
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Manners = Literal["close", "swallow", "ignore"]
"""Close the connection at once and without a word; take one more request and close; take it and do nothing."""


@dataclass
class Way:
    """Leads each new connection to the port `to`; those that exist stay where they are, as behind a ClusterIP."""

    port: int
    to: int


@contextmanager
def way(to: int) -> Iterator[Way]:
    """Open it."""
    with _listening() as server:
        made = Way(server.getsockname()[1], to)

        def carry(connection: socket.socket) -> None:
            with connection, socket.create_connection((ADDRESS, made.to), timeout=SECONDS) as onward:
                back = threading.Thread(target=_pump, args=(onward, connection), daemon=True)
                back.start()
                _pump(connection, onward)
                back.join()

        _accept(server, carry)
        yield made


@contextmanager
def rude(answers: int, then: Manners = "close", seen: list[bytes] | None = None) -> Iterator[int]:
    """Serve so many requests on each connection, and then be rude; give the port."""
    over = threading.Event()
    with _listening() as server:

        def answer(connection: socket.socket) -> None:
            with connection, connection.makefile("rb") as stream:
                for _ in range(answers):
                    if not (request := _request(stream)):
                        return
                    if seen is not None:
                        seen.append(request)
                    connection.sendall(ANSWER)
                if then != "close" and _request(stream) and then == "ignore":
                    over.wait(SECONDS)

        _accept(server, answer)
        try:
            yield server.getsockname()[1]
        finally:
            over.set()


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.create_server((ADDRESS, 0), backlog=128) as server:
        try:
            yield server
        finally:
            # Wakes the thread that accepts; closing alone would not.
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    def one(connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        with suppress(OSError):
            serve(connection)

    def forever() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=forever, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry one direction to its end; when it breaks, the other has no sense any more either."""
    with suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _request(stream: BinaryIO) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (line := stream.readline()):
            return b""
        head += line
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    return head + (stream.read(int(length[1])) if length else b"")
