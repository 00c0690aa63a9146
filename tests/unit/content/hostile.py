"""Servers that answer whatever they are told to answer, byte by byte."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket, bytes], None]
GIT_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nConnection: close\r\n\r\n"


def packet(text: bytes) -> bytes:
    """A line of Git's protocol."""
    return b"%04x" % (len(text) + 4) + text


@contextlib.contextmanager
def hostile(answer: Answer) -> Iterator[str]:
    """Run a server; `answer` gets each connection and the head of its request."""

    def converse(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    return
                head += piece
            answer(connection, head)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=converse, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/landing.git"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def say(*pieces: bytes) -> Answer:
    """Answer the same to everything."""

    def answer(connection: socket.socket, _: bytes) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


def say_for_ever(head: bytes, piece: bytes, pause: float = 0) -> Answer:
    """Answer without end."""

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return answer
