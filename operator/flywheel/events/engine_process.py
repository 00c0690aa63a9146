"""The process that holds chDB: `python -m flywheel.events.engine_process`. It ends when its worker does.

chDB takes up to a gigabyte and can be killed for it; here it takes nobody with it. One thread writes, in the order of
the orders; a few read, each query in a session of its own that is read-only and has its own limits.
"""

import argparse
import contextlib
import ctypes
import os
import queue
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flywheel.events.engine_frames import Answer, Order, pack, read_order
from flywheel.events.schema import quote

DATABASE = "flywheel"
READERS = 3
_PR_SET_PDEATHSIG = 1
AHEAD = 4
"""Pieces of a long answer that may be under way before the worker asks for more."""
WHOLE_FILES = frozenset({"Parquet"})
"""Formats of which two answers, one after the other, are no answer: what is read of them is written at their end."""
PIECE = 1 << 20
SLOWEST_READER = 60
"""Seconds for which a long answer waits for its reader."""
_CODE = re.compile(r"Code: (\d+)\. (?:DB::Exception: )?")
_VERSION = re.compile(r"\s*\(version [^)]*\)\s*$")


class Backend:
    """chDB on one directory."""

    def __init__(self, path: Path, memory: int, channel: socket.socket) -> None:
        self._address = f"{path}?max_server_memory_usage={memory}&mark_cache_size=67108864"
        self._path = path
        self._channel = channel
        self._sending = threading.Lock()
        self._writes: queue.Queue[tuple[Order, bytes] | None] = queue.Queue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        # Two streams at once can stand in each other's way inside chDB, and a slow reader in the way of queries.
        self._streamer = ThreadPoolExecutor(1, thread_name_prefix="streamer")
        self._killer = ThreadPoolExecutor(1, thread_name_prefix="killer")
        self._active: set[int] = set()
        self._windows: dict[int, threading.Semaphore] = {}
        self._cancelled: set[int] = set()
        self._writer: Any = self._open()
        self._writer.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        self._writer.query(f"USE {DATABASE}")
        # A commit is small: threads would cost more than they bring, and take from the queries.
        self._writer.query("SET max_threads = 1, max_insert_threads = 1")

    def _open(self) -> Any:
        from chdb.session import Session

        return Session(self._address)  # type: ignore[no-untyped-call]

    def serve(self) -> None:
        """Carry out orders until the worker goes away or says close."""
        writing = threading.Thread(target=self._write, name="writer", daemon=True)
        writing.start()
        self._send(Answer(id=0, kind="ready"))
        while (received := read_order(self._channel)) is not None:
            order, body = received
            if order.kind == "close":
                self._writes.put(None)
                writing.join()
                for pool in (self._readers, self._streamer, self._killer):
                    pool.shutdown(cancel_futures=True)
                self._writer.close()
                return
            self._dispatch(order, body)

    def _dispatch(self, order: Order, body: bytes) -> None:
        if order.kind in ("run", "insert", "query", "stream"):
            self._active.add(order.id)
        if order.kind in ("run", "insert"):
            self._writes.put((order, body))
        elif order.kind == "query":
            self._readers.submit(self._guarded, order, self._query)
        elif order.kind == "stream":
            self._windows[order.id] = threading.Semaphore(AHEAD)
            self._streamer.submit(self._guarded, order, self._stream)
        elif order.kind == "more":
            if window := self._windows.get(order.id):
                window.release()
        elif order.kind == "cancel" and order.id in self._active:
            self._cancelled.add(order.id)
            if window := self._windows.get(order.id):
                window.release()
            self._killer.submit(self._kill, order)

    def _write(self) -> None:
        while (taken := self._writes.get()) is not None:
            order, body = taken
            self._guarded(order, lambda order, body=body: self._change(order, body))

    def _guarded(self, order: Order, act: Any) -> None:
        try:
            answer = b"" if order.id in self._cancelled else act(order)
            self._send(Answer(id=order.id, kind="done"), answer)
        except ConnectionError:
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - chDB raises several kinds; the worker is told of each
            code, message = understand(str(error) or type(error).__name__)
            self._send(Answer(id=order.id, kind="error", code=code, message=message))
        finally:
            self._active.discard(order.id)
            self._cancelled.discard(order.id)

    def _change(self, order: Order, body: bytes) -> bytes:
        for name, value in order.settings.items():
            self._writer.query(f"SET {name} = {quote(value)}")
        if order.kind == "insert":
            with self._writer.send_insert(f"INSERT INTO {order.statement}", "JSONEachRow") as insert:
                insert.append(body)
                insert.finish()
            return b""
        given = self._writer.query(order.statement, order.output_format, params=order.parameters or None)
        return bytes(given.bytes())

    def _reader(self, order: Order) -> Any:
        reader: Any = self._open()
        reader.query(f"USE {DATABASE}")
        for name, value in order.settings.items():
            reader.query(f"SET {name} = {quote(value)}")
        # As the last one: from here on nothing can be changed, these settings included.
        reader.query("SET readonly = 1")
        return reader

    def _query(self, order: Order) -> bytes:
        reader = self._reader(order)
        try:
            given = reader.query(mark(order), order.output_format, params=order.parameters or None)
            return bytes(given.bytes())
        finally:
            reader.close()

    def _stream(self, order: Order) -> bytes:
        reader = self._reader(order)
        try:
            for piece in self._pieces(reader, order):
                self._send(Answer(id=order.id, kind="piece"), piece)
        finally:
            self._windows.pop(order.id, None)
            reader.close()
        return b""

    def _pieces(self, reader: Any, order: Order) -> Iterator[bytes]:
        whole = order.output_format in WHOLE_FILES
        for piece in self._of_file(reader, order) if whole else self._of_blocks(reader, order):
            if not self._windows[order.id].acquire(timeout=SLOWEST_READER):
                raise TimeoutError(f"Nobody took a piece of the answer for {SLOWEST_READER} s.")
            if order.id in self._cancelled:
                return
            yield piece

    def _of_blocks(self, reader: Any, order: Order) -> Iterator[bytes]:
        with reader.send_query(mark(order), order.output_format, params=order.parameters or None) as pieces:
            for piece in pieces:
                yield bytes(piece.bytes())

    def _of_file(self, reader: Any, order: Order) -> Iterator[bytes]:
        """Write all of it first: of such a format chDB would make a file of each block."""
        # Without a name, so that nothing is left of it, however this process ends.
        with tempfile.TemporaryFile(dir=self._path) as file:
            target = quote(f"/proc/self/fd/{file.fileno()}")
            statement = f"{mark(order)} INTO OUTFILE {target} APPEND FORMAT {order.output_format}"
            reader.query(statement, params=order.parameters or None)
            while piece := file.read(PIECE):
                yield piece

    def _kill(self, order: Order) -> None:
        killer: Any = self._open()
        try:
            killer.query(f"KILL QUERY WHERE startsWith(query, {quote(marker(order.id))}) ASYNC")
        except RuntimeError as error:
            print(f"A query could not be cancelled: {error}", file=sys.stderr)
        finally:
            killer.close()

    def _send(self, answer: Answer, body: bytes = b"") -> None:
        head, body_part = pack(answer, body)
        with self._sending:
            self._channel.sendall(head)
            if body_part:
                self._channel.sendall(body_part)


def marker(number: int) -> str:
    """Give the comment by which a query is known among those that run."""
    return f"/* flywheel {number} */ "


def mark(order: Order) -> str:
    """Give a query with its marker."""
    return marker(order.id) + order.statement


def understand(said: str) -> tuple[int, str]:
    """Take ClickHouse's number and the words for people out of what chDB raises."""
    codes = _CODE.findall(said)
    message = said[said.rfind("DB::Exception: ") + len("DB::Exception: ") :] if "DB::Exception: " in said else said
    return int(codes[-1]) if codes else 0, _VERSION.sub("", message).strip()[:4000]


def main() -> None:
    """Serve the worker at the other end of a socket."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--path", type=Path, required=True)
    arguments.add_argument("--memory", type=int, required=True)
    arguments.add_argument("--socket", type=int, required=True)
    given = arguments.parse_args()
    # A terminal sends these to the whole group, and the worker ends us in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with_parent()
    channel = socket.socket(fileno=given.socket)
    # Without the ends of Python and of chDB's threads, which can wait for each other while the lock is held.
    os._exit(_serve(given.path, given.memory, channel))


def _serve(path: Path, memory: int, channel: socket.socket) -> int:
    try:
        try:
            backend = Backend(path, memory, channel)
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker has to hear of it
            code, message = understand(str(error))
            head, _ = pack(Answer(id=0, kind="failed", code=code, message=message))
            channel.sendall(head)
            return 3
        backend.serve()
    except OSError:
        # The worker was killed. What it did not acknowledge nobody counts on, and the next one waits for our lock.
        return 0
    return 0


def _end_with_parent() -> None:
    """Have the kernel kill us with the worker, wherever we are: it may be deep in chDB."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
